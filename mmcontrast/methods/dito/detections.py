"""Select detections: non-maximum suppression (NMS) of many classes on shared boxes."""
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms


class Detections(NamedTuple):
    """Detections of an image, best first.

    Attributes:
        boxes: (D, 4).
        scores: (D,).
        labels: (D,) int64, column of the scores.
        roi_index: (D,) int64, row of the scores.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    roi_index: Tensor


def select_detections(boxes: Tensor, scores: Tensor, max_per_img: int = 300,
                      iou_threshold: float = 0.5, score_thr: float = 0.0,
                      max_per_class: int = 1000, first_candidates: int = 4000
                      ) -> Detections:
    """The best detections after an NMS in each class.

    Equal to a loop over classes, each with its NMS, and a sort of all that is left;
    among equal scores the lower class comes first, then the lower row. Suppression
    only runs from higher to lower scores, so candidates are examined from the best on
    until ``max_per_img`` are left: with 1200 classes, a few per cent of them.

    Source: DITO (arXiv 2310.00161), the released code. ``torchvision.ops.batched_nms``
    suppresses above the threshold only, and moves classes apart in float32, where boxes
    of the thousandth class lose the digits that decide.

    Args:
        boxes: (R, 4) x1, y1, x2, y2, the same for all classes.
        scores: (R, K) without the background.
        max_per_img: Largest number of detections.
        iou_threshold: A box is suppressed by a better one of its class that overlaps
            with an IoU of this or more.
        score_thr: Scores must be above it.
        max_per_class: Candidates of a class, the best ones.
        first_candidates: Number examined at first; four times as many whenever too few
            are left. Changes the time, not the result.
    """
    boxes, scores = boxes.float(), scores.float()
    if len(scores) > max_per_class:
        scores = _best_of_each_class(scores, max_per_class)
    # Class by class, as ties are resolved.
    flat = scores.T.flatten()
    count = first_candidates
    while True:
        best, complete = _best(flat, count, score_thr)
        keep = _class_nms(boxes, best, flat, len(boxes), iou_threshold)
        if complete or len(keep) >= max_per_img:
            break
        count *= 4
    keep = keep[:max_per_img]
    label, roi = keep // max(len(boxes), 1), keep % max(len(boxes), 1)
    return Detections(boxes[roi], flat[keep], label, roi)


def _best(flat: Tensor, count: int, score_thr: float) -> tuple[Tensor, bool]:
    """Index of about the ``count`` best scores, best first, and whether that is all.

    Scores equal to the last one are left out, as others like it may be missing.
    """
    if count >= len(flat):
        value, index = flat.sort(descending=True, stable=True)
        return index[value > score_thr], True
    value, index = flat.topk(count)
    if value[-1] <= score_thr:
        index, complete = index[value > score_thr], True
    else:
        index, complete = index[value > value[-1]], False
    index = index.sort().values
    return index[flat[index].argsort(descending=True, stable=True)], complete


def _class_nms(boxes: Tensor, index: Tensor, flat: Tensor, num_rois: int,
               iou_threshold: float) -> Tensor:
    """Those of ``index``, in order, that no better one of their class suppresses."""
    if not len(index):
        return index
    label, roi = index // num_rois, index % num_rois
    # float64 keeps the digits of a box that is moved by thousands of image sides.
    boxes = boxes.double()
    step = boxes.max() - boxes.min() + 1
    moved = boxes[roi] + (label * step)[:, None]
    # nms suppresses above its threshold: just below it stands for "or equal", also
    # where sums of the moved boxes round.
    return index[nms(moved, flat[index].double(), iou_threshold - 3e-8)]


def _best_of_each_class(scores: Tensor, count: int) -> Tensor:
    """Scores with those that are not among the best of their class set to -inf."""
    order = scores.argsort(dim=0, descending=True, stable=True)[count:]
    return scores.scatter(0, order, -torch.inf)
