"""Compute overlaps of boxes, and match boxes greedily by them.

In NumPy: mmdet's ``bbox_overlaps`` gives the same numbers, but calls of it for the few
boxes of a phrase take three times as long.
"""
import numpy as np

#: Smallest union or hull in square pixels, so that boxes without area divide by it.
_MIN_AREA = 1e-6


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of every box with every other one.

    Args:
        boxes: (..., M, 4) float64 x1, y1, x2, y2.
        others: (..., N, 4) float64, with the same leading axes.

    Returns:
        (..., M, N) in [0, 1].
    """
    shared, union, _ = _areas(boxes, others)
    return shared / np.maximum(union, _MIN_AREA)


def pairwise_giou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Generalized IoU in (-1, 1]: IoU minus the share of the hull outside the union.

    Args and shape of the result are those of :func:`pairwise_iou`. Source: Rezatofighi
    et al., "Generalized Intersection over Union", CVPR 2019.
    """
    shared, union, hull = _areas(boxes, others)
    outside = (hull - union) / np.maximum(hull, _MIN_AREA)
    return shared / np.maximum(union, _MIN_AREA) - outside


#: Overlap by the name that the metrics take for ``match``.
OVERLAPS = dict(giou=pairwise_giou, iou=pairwise_iou)


def _areas(boxes: np.ndarray, others: np.ndarray) -> tuple:
    """Areas of intersection, union and hull, each (..., M, N)."""
    first, second = boxes[..., :, None, :], others[..., None, :, :]
    shared = _area(np.maximum(first[..., :2], second[..., :2]),
                   np.minimum(first[..., 2:], second[..., 2:]))
    hull = _area(np.minimum(first[..., :2], second[..., :2]),
                 np.maximum(first[..., 2:], second[..., 2:]))
    union = (_area(first[..., :2], first[..., 2:])
             + _area(second[..., :2], second[..., 2:]) - shared)
    return shared, union, hull


def _area(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(high - low, 0).prod(-1)


def greedy_matches(overlaps: np.ndarray, min_overlap: float) -> np.ndarray:
    """Count the pairs that a greedy matching finds in each sample.

    The largest overlap is a pair if it reaches ``min_overlap``; its row and column
    drop out; and so on. The steps are taken for all samples together.

    Args:
        overlaps: (N, Q, K) overlaps of Q predicted and K labeled boxes; -inf where
            there is no box.
        min_overlap: Smallest overlap of a pair.

    Returns:
        (N,) int64, the number of pairs.
    """
    samples, num_predicted, num_labeled = overlaps.shape
    left, counts = overlaps.copy(), np.zeros(samples, np.int64)
    for _ in range(min(num_predicted, num_labeled)):
        best = left.reshape(samples, num_predicted * num_labeled).argmax(1)
        rows, columns = np.divmod(best, num_labeled)
        found = np.flatnonzero(
            left[np.arange(samples), rows, columns] >= min_overlap)
        if not len(found):
            break
        counts[found] += 1
        left[found, rows[found]] = -np.inf
        left[found, :, columns[found]] = -np.inf
    return counts
