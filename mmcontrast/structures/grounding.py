"""Represent what a grounding model predicts for a phrase, and what is found by it."""
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MASK_RESIZES = ('nearest', 'logits')


@dataclass(frozen=True, eq=False)
class PhrasePrediction:
    """Boxes, one mask and the existence of what a phrase describes in an image.

    Everything is relative to the image, whatever its size: :meth:`boxes` and
    :meth:`mask` give pixels of the size that is asked for. Tensors may be on any
    device; Q proposals.

    Attributes:
        boxes_norm: (Q, 4) float, left, top, right, bottom in [0, 1] of width and
            height, in the order of the proposals.
        scores: (Q,) float in [0, 1]: how well a proposal fits the phrase, with the
            existence already in it where the model has that branch.
        exists: () float in [0, 1], the probability that the target is in the image;
            None for a model without an existence branch.
        mask_logits: (S, S) float at the input size, one mask of all that is meant.
    """

    boxes_norm: Tensor
    scores: Tensor
    exists: Tensor | None
    mask_logits: Tensor

    def boxes(self, height: int, width: int) -> Tensor:
        """(Q, 4) left, top, right, bottom in pixels of an image, clipped to it."""
        size = self.boxes_norm.new_tensor([width, height, width, height])
        return self.boxes_norm.clamp(0, 1) * size

    def mask(self, height: int, width: int, mask_thr: float = 0.5,
             resize: str = 'nearest') -> Tensor:
        """The mask at the size of an image.

        Args:
            height, width: Of the mask that is returned.
            mask_thr: A pixel belongs to the mask from this probability on.
            resize: ``nearest`` resizes the binary mask, as the reference does;
                ``logits`` interpolates the logits, which gives smooth contours.

        Returns:
            (height, width) bool.

        Raises:
            ValueError: If ``resize`` is neither of the two.
        """
        if resize not in MASK_RESIZES:
            raise ValueError(f'mask resize is one of {", ".join(MASK_RESIZES)}, got '
                             f'{resize!r}.')
        logits = self.mask_logits[None, None].float()
        if resize == 'logits':
            logits = functional.interpolate(logits, (height, width), mode='bilinear',
                                            align_corners=False)
            return logits[0, 0].sigmoid() >= mask_thr
        binary = (logits.sigmoid() >= mask_thr).to(torch.uint8)
        return functional.interpolate(binary, (height, width))[0, 0].bool()


@dataclass(frozen=True, eq=False)
class GroundedPhrase:
    """What was found for a phrase in an image, after thresholds.

    Attributes:
        phrase: As it was given.
        exists: Whether the image shows what the phrase describes.
        exists_prob: Probability of that in [0, 1]; None for a model without an
            existence branch, where the scores alone decide.
        boxes_xyxy: (N, 4) float32 in pixels of the image, the best score first; none
            if ``exists`` is False.
        scores: (N,) float32 in [0, 1].
        mask: (H, W) bool at the size of the image, of all that the phrase describes;
            empty if ``exists`` is False.
        proposals_xyxy: (Q, 4) float32, all proposals, the best score first.
        proposal_scores: (Q,) float32.
    """

    phrase: str
    exists: bool
    exists_prob: float | None
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    mask: np.ndarray
    proposals_xyxy: np.ndarray = field(repr=False)
    proposal_scores: np.ndarray = field(repr=False)
