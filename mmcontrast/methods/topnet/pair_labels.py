"""Find the labeled pixels of a batch and compute cross entropy on them alone."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sample import PlacementSample, check_metainfo

IGNORED = 255


@dataclass(frozen=True)
class LabeledPixels:
    """Pixels of the network's input with a label; positives come first.

    Attributes:
        images, rows, cols: (N,) int64 indices.
        labels: (N,) int64: 1 plausible, 0 not.
        counts: (N,) bool: False for a label that a later one on the same pixel
            overwrites. Negatives come later.
    """

    images: Tensor
    rows: Tensor
    cols: Tensor
    labels: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> 'LabeledPixels':
        return LabeledPixels(*(value.to(device, non_blocking=True)
                               for value in vars(self).values()))

    def target_map(self, num_images: int, size: int) -> Tensor:
        """(B, size, size) uint8: 1, 0, and 255 where there is no label."""
        target = torch.full((num_images, size, size), IGNORED, dtype=torch.uint8,
                            device=self.images.device)
        # An overwritten label is written by the one that overwrites it.
        places = [index[self.counts] for index in (self.images, self.rows, self.cols)]
        target[tuple(places)] = self.labels[self.counts].to(torch.uint8)
        return target


def labeled_pixels(samples: Sequence[PlacementSample], size: int) -> LabeledPixels:
    """The pixels of the box centers of a batch.

    Pixel (int(cx * size / W), int(cy * size / H)) of center (cx, cy), computed in
    float64 as in the released loader. A center on the right or lower border, which
    makes that loader fail, goes to the last pixel.

    Args:
        samples: With ``positives``, ``negatives`` and ``background_wh``.
        size: Height and width of the network's input.

    Raises:
        KeyError: If a sample has no ``background_wh``.
    """
    check_metainfo(samples, 'background_wh')
    parts = [sample.get(name) for name in ('positives', 'negatives')
             for sample in samples]
    device = next((part.device for part in parts if part is not None), None)
    none = torch.zeros(0, 4, dtype=torch.float64, device=device)
    parts = [none if part is None else part for part in parts]
    total = sum(map(len, parts))
    part_of = torch.repeat_interleave(
        torch.tensor(list(map(len, parts)), device=device), output_size=total)
    images = part_of % len(samples)
    background_wh = torch.tensor([sample.background_wh for sample in samples],
                                 dtype=torch.float64, device=device)[images]
    boxes = torch.cat(parts)
    centers = boxes[:, :2] + boxes[:, 2:] / 2
    cols, rows = (centers * size / background_wh).long().clamp(0, size - 1).unbind(1)
    pixels = (images * size + rows) * size + cols
    overwritten = (pixels[:, None] == pixels).triu(1).any(1)
    return LabeledPixels(images, rows, cols, (part_of < len(samples)).long(),
                         ~overwritten)


def sparse_cross_entropy(logits: Tensor, pixels: LabeledPixels) -> Tensor:
    """Mean cross entropy over the labeled pixels of the batch, in float32.

    Args:
        logits: (N, 2) of these pixels.
        pixels: Their labels.

    Returns:
        Scalar; 0 with a gradient path where no pixel has a label (NaN in the released
        code).
    """
    with torch.autocast(logits.device.type, enabled=False):
        losses = F.cross_entropy(logits.float(), pixels.labels, reduction='none')
        return (losses * pixels.counts).sum() / pixels.counts.sum().clamp(min=1)
