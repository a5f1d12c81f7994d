"""Hold what the losses of a batch of phrases compare with."""
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroundingTargets:
    """The objects of B images and what their phrases mean.

    Attributes:
        boxes: B times (N, 4) cxcywh in [0, 1], all foreground objects of an image.
        referred: B times (N,) bool, those that the phrase means.
        masks: (B, S, S) float or bool, union of the objects that are meant.
        exists: (B,) bool, whether the phrase means any object.
        attributes: B times (N, K) int64, where the objects have them.
    """

    boxes: list[Tensor]
    referred: list[Tensor]
    masks: Tensor
    exists: Tensor
    attributes: list[Tensor] | None = None

    @property
    def counts(self) -> list[int]:
        """Number of objects of each image."""
        return [len(boxes) for boxes in self.boxes]

    @property
    def image_index(self) -> Tensor:
        """(M,) int64, the image of each object, the objects of all images in order."""
        index = torch.arange(len(self.boxes)).repeat_interleave(
            torch.tensor(self.counts))
        return index.to(self.boxes[0].device)
