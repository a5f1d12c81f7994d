"""Decode the distances of the RPN and select the proposals of each image.

Source: DITO (ECCV 2024), released detector. Everything is padded and batched, so that
the only loop over images is that of a real NMS.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from ...models.functional import at_least_float
from .rpn_targets import center_and_size


class Proposals(NamedTuple):
    """The best boxes of B images, sorted by score and filled up with zeros to P.

    Attributes:
        boxes: (B, P, 4) xyxy pixels.
        scores: (B, P) in [0, 1].
        num: (B,) how many of the P boxes are real.
    """

    boxes: Tensor
    scores: Tensor
    num: Tensor


@dataclass(frozen=True)
class ProposalSelector:
    """Select proposals; the options are those of ``test_cfg.rpn``.

    Attributes:
        nms_pre: Boxes a level with the highest scores that enter NMS.
        nms_iou: IoU from which a box is suppressed by a better one of its level. At 1
            only duplicates are, as released for testing; training takes 0.7.
        max_per_img: Proposals an image, and a level.
        min_bbox_size: Width and height that a box must exceed. The released detector
            has no limit, as -1 here, and also proposes boxes that end before they
            start, which RoIAlign of mmcv refuses on a CPU.
    """

    LIMITS: ClassVar = dict(nms_pre=(1, inf), nms_iou=(0, 1), max_per_img=(1, inf),
                            min_bbox_size=(-1, inf))

    nms_pre: int = 2000
    nms_iou: float = 1.0
    max_per_img: int = 1000
    min_bbox_size: float = 0.0

    @torch.no_grad()
    def __call__(self, logits: Sequence[Tensor], distances: Sequence[Tensor],
                 anchors: Sequence[Tensor], limit: Tensor) -> Proposals:
        """Proposals of a batch.

        Args:
            logits: (B, A_l) a level.
            distances: (B, A_l, 4) a level, see :func:`decode`.
            anchors: (A_l, 4) a level.
            limit: (B, 2) greatest x and y of each image.
        """
        levels = [self._level(*level, limit)
                  for level in zip(logits, distances, anchors, strict=True)]
        return best_boxes(*(torch.cat(parts, dim=1)
                            for parts in zip(*levels, strict=True)), self.max_per_img)

    def _level(self, logits: Tensor, distances: Tensor, anchors: Tensor, limit: Tensor
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Sorted boxes and scores of one level, and which of them stay."""
        # Not topk, which leaves the order of equal scores open.
        scores, order = at_least_float(logits).sigmoid().sort(
            dim=1, descending=True, stable=True)
        scores, order = scores[:, :self.nms_pre], order[:, :self.nms_pre]
        distances = distances.gather(1, order[..., None].expand(-1, -1, 4))
        boxes = decode(anchors[order], distances, limit)
        if self.min_bbox_size >= 0:
            large = (center_and_size(boxes)[1] > self.min_bbox_size).all(dim=-1)
            boxes = boxes * large[..., None]  # all-zero boxes are dropped
        keep = nms_mask(boxes, self.nms_iou)
        return boxes, scores, keep & (keep.cumsum(dim=1) <= self.max_per_img)


def decode(anchors: Tensor, distances: Tensor, limit: Tensor) -> Tensor:
    """Boxes of predicted distances, clipped to the image.

    Nothing keeps the distances positive: a box may end before it starts.

    Args:
        anchors: (A, 4) or (B, A, 4) xyxy pixels.
        distances: (B, A, 4) from the anchor center to the left, right, top and bottom
            side, in units of the anchor's width and height.
        limit: (B, 2) greatest x and y of each image.

    Returns:
        (B, A, 4) xyxy pixels, in float32.
    """
    center, size = center_and_size(anchors)
    distances = at_least_float(distances)
    corners = torch.cat([center - distances[..., 0::2] * size,
                         center + distances[..., 1::2] * size], dim=-1)
    return corners.clamp(min=0).minimum(limit.repeat(1, 2)[:, None])


def nms_mask(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Which boxes no better one suppresses; all-zero boxes are dropped, too.

    Args:
        boxes: (B, N, 4), sorted by descending score.
        iou_threshold: IoU from which a box is suppressed, inclusive. Boxes without
            area overlap nothing.

    Returns:
        (B, N) bool.
    """
    if iou_threshold >= 1:
        return first_of_equals(boxes) & boxes.any(dim=-1)
    # torchvision suppresses above its threshold, not at it.
    threshold = float(np.nextafter(np.float32(iou_threshold), np.float32(0)))
    keep = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    scores = torch.arange(boxes.shape[1], 0, -1.0, device=boxes.device)
    for row, some in zip(keep, boxes, strict=True):
        row[nms(some, scores, threshold)] = True
    return keep & boxes.any(dim=-1)


def first_of_equals(boxes: Tensor) -> Tensor:
    """NMS at IoU 1 without the IoU of all pairs: mask of boxes that repeat no other.

    Args:
        boxes: (B, N, 4).

    Returns:
        (B, N) bool: False for a box with area that equals one before it.
    """
    # Stable sorts by one coordinate after the other bring equal boxes together and
    # leave them in order.
    order = torch.arange(boxes.shape[1], device=boxes.device).expand(boxes.shape[:2])
    for coordinate in boxes.unbind(dim=-1):
        order = order.gather(1, coordinate.gather(1, order).argsort(dim=1, stable=True))
    together = boxes.gather(1, order[..., None].expand_as(boxes))
    repeats = torch.zeros_like(order, dtype=torch.bool)
    repeats[:, 1:] = (together[:, 1:] == together[:, :-1]).all(dim=-1)
    repeats &= (together[..., 2:] > together[..., :2]).all(dim=-1)
    return ~torch.zeros_like(repeats).scatter_(1, order, repeats)


def best_boxes(boxes: Tensor, scores: Tensor, keep: Tensor, num: int) -> Proposals:
    """The ``num`` best boxes of each image; equal scores stay in order.

    Args:
        boxes: (B, N, 4).
        scores: (B, N) in [0, 1].
        keep: (B, N) bool, which of them may be taken.
    """
    top, order = scores.masked_fill(~keep, -1).sort(
        dim=1, descending=True, stable=True)
    top, order = top[:, :num], order[:, :num]
    real = top >= 0
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4)) * real[..., None]
    missing = num - top.shape[1]
    return Proposals(F.pad(boxes, (0, 0, 0, missing)),
                     F.pad(top.clamp(min=0), (0, missing)), real.sum(dim=1))
