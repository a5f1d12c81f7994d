"""Match anchors to boxes and compute the centerness and box targets of the RPN.

Source: DITO (ECCV 2024), released detector; its localization-quality targets follow
OLN (RA-L 2022). The whole batch is computed at once on the device of the anchors,
without a loop over images or boxes and without synchronization.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# What an anchor is matched to, if not to the index of a ground-truth box.
NEGATIVE, IGNORED = -1, -2


class RPNTargets(NamedTuple):
    """Targets of A anchors in each of B images.

    Attributes:
        centerness: (B, A) in [0, 1]; -1 where an anchor takes no part.
        boxes: (B, A, 4) xyxy pixels of the matched box; zeros without one.
        matched: (B, A) bool, whether an anchor has a box target.
    """

    centerness: Tensor
    boxes: Tensor
    matched: Tensor


@dataclass(frozen=True)
class RPNTargetAssigner:
    """Assign targets to anchors; the options are those of ``train_cfg.rpn``.

    Attributes:
        box_pos_iou_thr: IoU from which an anchor learns its box. Boxes have no
            negatives, so there is no second threshold (released: 0.3, without effect).
        center_pos_iou_thr, center_neg_iou_thr: IoU from which the centerness of an
            anchor is that of its box, and below which it is 0; ignored between.
        num_samples: Anchors an image that learn their centerness. The losses are
            divided by it, also where an image has fewer.
        max_positives: Matched ones among them at most.
        ignore_iof_thr: Ignored boxes (crowds) that cover more than this share of an
            unmatched anchor exclude it. Off at -1, as released and as in mmdet: such
            anchors are negatives.
    """

    LIMITS: ClassVar = dict(
        box_pos_iou_thr=(0, 1), center_pos_iou_thr=(0, 1), center_neg_iou_thr=(0, 1),
        num_samples=(1, inf), max_positives=(0, inf), ignore_iof_thr=(-1, 1))

    box_pos_iou_thr: float = 0.7
    center_pos_iou_thr: float = 0.3
    center_neg_iou_thr: float = 0.1
    num_samples: int = 256
    max_positives: int = 255
    ignore_iof_thr: float = -1.0

    @torch.no_grad()
    def __call__(self, anchors: Tensor, boxes: Sequence[Tensor],
                 ignored: Sequence[Tensor] | None = None) -> RPNTargets:
        """Targets of a batch.

        Args:
            anchors: (A, 4) xyxy pixels.
            boxes: (M_i, 4) ground truth an image, xyxy pixels of the padded image. An
                image may have none: all its anchors are negatives.
            ignored: (I_i, 4) boxes per image that are neither objects nor background.
        """
        boxes = pad_boxes(boxes)
        iou = pairwise_iou(boxes, anchors)
        box_match = match_anchors(iou, self.box_pos_iou_thr, self.box_pos_iou_thr)
        match = match_anchors(iou, self.center_pos_iou_thr, self.center_neg_iou_thr)
        if self.ignore_iof_thr > 0 and ignored is not None:
            shared = pairwise_intersection(pad_boxes(ignored), anchors)
            crowded = (shared > self.ignore_iof_thr * area(anchors)).any(dim=1)
            match = match.masked_fill(crowded & (match == NEGATIVE), IGNORED)
        quality = centerness(anchors, gather_boxes(boxes, match)) * (match >= 0)
        sampled = sample_anchors(match, self.num_samples, self.max_positives)
        matched = box_match >= 0
        return RPNTargets(centerness=quality.masked_fill(~sampled, -1.0),
                          boxes=gather_boxes(boxes, box_match) * matched[..., None],
                          matched=matched)


def match_anchors(iou: Tensor, positive: float, negative: float) -> Tensor:
    """Match anchors by IoU; every box also claims the anchor that overlaps it most.

    Among equal overlaps the first anchor is claimed; of several claims the box with
    the smaller index wins (mmdet's ``MaxIoUAssigner``: the larger one). A box that
    overlaps no anchor claims none.

    Args:
        iou: (B, M, A) of M boxes; 0 for padding, which matches nothing then.
        positive, negative: IoU from which an anchor is matched, and below which it is
            background.

    Returns:
        (B, A) int64: index of the box, ``NEGATIVE`` or ``IGNORED``.
    """
    best, match = iou.max(dim=1)
    match = match.masked_fill(best < positive, IGNORED)
    match = match.masked_fill(best < negative, NEGATIVE)
    highest, anchor = iou.max(dim=2)
    count = iou.shape[1]  # stands for no claim
    claim = torch.arange(count, device=iou.device).expand_as(anchor)
    claim = claim.masked_fill(highest <= 0, count)
    claimed = torch.full_like(match, count).scatter_reduce_(1, anchor, claim, 'amin')
    return torch.where(claimed < count, claimed, match)


def centerness(anchors: Tensor, boxes: Tensor) -> Tensor:
    """How central anchor centers lie in boxes: 1 in the middle, 0 on an edge.

    Args:
        anchors: (A, 4).
        boxes: (..., A, 4), one for each anchor.

    Returns:
        (..., A); 0 for centers outside of their box.
    """
    center, size = center_and_size(anchors)
    low = (center - boxes[..., :2]) / size
    high = (boxes[..., 2:] - center) / size
    near, far = torch.minimum(low, high), torch.maximum(low, high)
    inside = (near > 0).all(dim=-1)
    ratio = near.clamp(min=0) / (far.clamp(min=0) + 1e-8)
    return ratio.prod(dim=-1).sqrt() * inside


def sample_anchors(match: Tensor, num_samples: int, max_positives: int) -> Tensor:
    """Draw the anchors of each image that take part in the centerness loss.

    Up to ``max_positives`` of the matched anchors, and negatives to make up
    ``num_samples``.

    Args:
        match: (B, A) from :func:`match_anchors`.

    Returns:
        (B, A) bool.
    """
    positive, negative = match >= 0, match == NEGATIVE
    num_positive = positive.sum(dim=1, keepdim=True).clamp(max=max_positives)
    return (random_subset(positive, max_positives, num_positive)
            | random_subset(negative, num_samples, num_samples - num_positive))


def random_subset(candidates: Tensor, most: int, count: Tensor) -> Tensor:
    """Keep a random choice of ``count`` (B, 1), at most ``most``, of each row."""
    keys = torch.rand(candidates.shape, device=candidates.device)
    top, index = keys.masked_fill(~candidates, -1).topk(
        min(most, candidates.shape[1]), dim=1)
    rank = torch.arange(top.shape[1], device=top.device)
    return torch.zeros_like(candidates).scatter_(1, index, (top >= 0) & (rank < count))


def pad_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """(B, M, 4) float32 boxes of a batch, filled up with zeros; M is at least 1."""
    padded = pad_sequence([x.float() for x in boxes], batch_first=True)
    return padded if padded.shape[1] else padded.new_zeros(len(boxes), 1, 4)


def gather_boxes(boxes: Tensor, match: Tensor) -> Tensor:
    """(B, A, 4) box of each anchor; the first box where there is no match."""
    index = match.clamp(min=0)[..., None].expand(-1, -1, 4)
    return boxes.gather(1, index)


def pairwise_iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    """(B, M, A) IoU of (B, M, 4) boxes and (A, 4) anchors; 0 for boxes without area.
    """
    shared = pairwise_intersection(boxes, anchors)
    return shared / (area(boxes)[..., None] + area(anchors)).sub_(shared)


def pairwise_intersection(boxes: Tensor, anchors: Tensor) -> Tensor:
    """(B, M, A) common area in square pixels.

    One axis after the other and in place: torchvision's and mmdet's functions hold
    several (B, M, A, 2) tensors, a gigabyte for LVIS at 1024 pixels.
    """
    sides = []
    for low, high in ((0, 2), (1, 3)):
        start = torch.maximum(boxes[..., None, low], anchors[:, low])
        end = torch.minimum(boxes[..., None, high], anchors[:, high])
        sides.append(end.sub_(start).clamp_(min=0))
    return sides[0].mul_(sides[1])


def area(boxes: Tensor) -> Tensor:
    """(...) area of (..., 4) boxes; 0 if they end before they start."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) centers, and (..., 2) width and height."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
