"""Match RoIs to ground truth and sample those that are trained on.

Source: DITO (arXiv 2310.00161), the released code. All images of a batch are handled
at once, in tensors of a fixed size, so nothing here synchronizes the device.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_iou

from .box_coder import DeltaYXHWBoxCoder


@dataclass(frozen=True)
class SampledRoIs:
    """RoIs of B images, S of each, and what they should become.

    Attributes:
        boxes: (B, S, 4) x1, y1, x2, y2 in pixels.
        labels: (B, S) int64: a class below K, K for the background, or -1 for a row
            that does not count.
        gt_index: (B, S) int64, the ground truth of the image that overlaps most; 0 for
            the background.
        deltas: (B, S, 4) box targets, zero where not positive.
        num_classes: K.
    """

    boxes: Tensor
    labels: Tensor
    gt_index: Tensor
    deltas: Tensor
    num_classes: int

    @property
    def positive(self) -> Tensor:
        """(B, S) bool."""
        return (self.labels >= 0) & (self.labels < self.num_classes)

    def rois(self) -> Tensor:
        """(B * S, 5): image, then the box."""
        return with_image_index(self.boxes)

    def first_positives(self, limit: int) -> tuple[Tensor, Tensor]:
        """Index of the first positive RoIs of each image, for the mask head.

        Returns:
            (B, n) int64, positives first, in order, and (B, n) bool, which rows are
            positive. n is ``limit`` on a GPU. On a CPU, where a look at the numbers
            costs nothing, n is the largest number of positives, at least 1.
        """
        positive = self.positive
        limit = min(limit, positive.shape[1])
        if positive.device.type == 'cpu':
            limit = min(limit, max(1, int(positive.sum(1).max())))
        index = _first(positive, limit)
        return index, positive.gather(1, index)


def with_image_index(boxes: Tensor) -> Tensor:
    """(B, S, 4) boxes -> (B * S, 5) RoIs, as crops take them."""
    image = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    return torch.cat([image[:, None, None].expand(-1, boxes.shape[1], -1), boxes],
                     dim=-1).flatten(0, 1)


@torch.no_grad()
def sample_rois(proposals: Sequence[Tensor], gt_boxes: Sequence[Tensor],
                gt_labels: Sequence[Tensor], num_classes: int, num_samples: int = 512,
                positive_fraction: float = 0.25, iou_threshold: float = 0.5,
                box_coder: DeltaYXHWBoxCoder | None = None, sample_padding: int = 0,
                fill_with_unsampled: bool = False, priority: Tensor | None = None
                ) -> SampledRoIs:
    """Draw RoIs among proposals and ground truth boxes.

    A candidate is positive if its largest IoU is above the threshold, and negative if
    it is below; at the threshold it is neither. At most ``positive_fraction`` of the
    RoIs are positive, the others negative.

    Differences to the released code, each with an option: padding rows of its ground
    truth array are not candidates; images without ground truth give negatives drawn at
    random; rows beyond the candidates that may be drawn get the label -1.

    Args:
        proposals: (P_i, 4) an image; no gradient goes through them.
        gt_boxes: (G_i, 4) an image; may be empty.
        gt_labels: (G_i,) an image, int64 below K.
        num_classes: K, the label of the background.
        num_samples: S.
        positive_fraction: Of S, rounded down.
        iou_threshold: Of positives (above) and negatives (below).
        box_coder: Makes the box targets; the one of DITO by default.
        sample_padding: Number of rows of the ground truth array of the released code
            (300), which pads with boxes of -1: those become negatives. 0: no padding.
        fill_with_unsampled: As the released code: rows left over are candidates that
            were not drawn, in order, and count with the class that they overlap; so do
            all rows of an image without ground truth.
        priority: (B, N) floats, N the largest number of candidates of an image; those
            with the largest ones are drawn. Random by default.

    Returns:
        The RoIs of each image in the order of its candidates, proposals first; rows
        left over come last.
    """
    candidates, exists = _candidates(proposals, gt_boxes, sample_padding, num_samples)
    gt, labels = _padded(gt_boxes, -1.0), _padded(gt_labels, -1)
    iou = box_iou(candidates, gt).nan_to_num(0).masked_fill((labels < 0)[:, None], -1)
    best, gt_index = iou.max(dim=-1)
    if not fill_with_unsampled:
        best = best.clamp(min=0)
    positive = (best > iou_threshold) & exists
    negative = (best < iou_threshold) & (best >= 0) & exists
    most = int(num_samples * positive_fraction)
    sampled = _draw(positive, negative, num_samples, most, priority)

    overlaps = best > 0 if fill_with_unsampled else positive
    found = overlaps & ~negative
    label = labels.gather(1, gt_index).where(found, num_classes)
    counted = exists if fill_with_unsampled else sampled
    deltas = (box_coder or DeltaYXHWBoxCoder()).encode(
        candidates, _rows(gt, gt_index)).where(found[..., None], 0)
    index = _first(sampled, num_samples)
    return SampledRoIs(
        _rows(candidates, index), label.where(counted, -1).gather(1, index),
        gt_index.where(found, 0).gather(1, index),
        _rows(deltas.where(counted[..., None], 0), index), num_classes)


def _candidates(proposals: Sequence[Tensor], gt_boxes: Sequence[Tensor], padding: int,
                least: int) -> tuple[Tensor, Tensor]:
    """Proposals and ground truth: (B, N, 4), N at least ``least``, and (B, N) bool."""
    rows = [torch.cat([boxes.float(), F.pad(
        gt.float(), (0, 0, 0, max(padding - len(gt), 0)), value=-1.0)])
        for boxes, gt in zip(proposals, gt_boxes, strict=True)]
    length = max(least, *map(len, rows))
    exists = [torch.arange(length, device=boxes.device) < len(boxes) for boxes in rows]
    return (torch.stack([F.pad(boxes, (0, 0, 0, length - len(boxes)))
                         for boxes in rows]), torch.stack(exists))


def _padded(rows: Sequence[Tensor], value: float) -> Tensor:
    """Rows of each image in one tensor, with a row of padding at least."""
    padded = pad_sequence(list(rows), batch_first=True, padding_value=value)
    return F.pad(padded, (0, 0) * (padded.ndim - 2) + (0, 1), value=value)


def _draw(positive: Tensor, negative: Tensor, num_samples: int, most_positive: int,
          priority: Tensor | None) -> Tensor:
    """(B, N) bool, which candidates are drawn; those of the largest priority."""
    if priority is None:
        priority = torch.rand(positive.shape, device=positive.device)
    priority = F.pad(priority, (0, positive.shape[1] - priority.shape[1]), value=-1)
    order = priority.argsort(dim=1, descending=True)
    positive = _limited(positive.gather(1, order), most_positive)
    room = num_samples - positive.sum(1, keepdim=True)
    drawn = positive | _limited(negative.gather(1, order), room)
    return torch.zeros_like(drawn).scatter(1, order, drawn)


def _limited(mask: Tensor, most: Tensor | int) -> Tensor:
    """The first ``most`` true values of each row."""
    return mask & (mask.cumsum(1) <= most)


def _first(mask: Tensor, count: int) -> Tensor:
    """Index of the first ``count`` true values of each row, then of false ones."""
    return mask.byte().argsort(dim=1, descending=True, stable=True)[:, :count]


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows (B, S) of a (B, N, 4) tensor."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
