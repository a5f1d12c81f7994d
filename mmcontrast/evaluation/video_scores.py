"""Score video object segmentation by J (region) and F (contour).

Source: "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation"
(CVPR 2016), section 4, as in the DAVIS 2017 challenge: scores are per object,
without the first frame (given) and the last.
"""
from functools import cache

import cv2
import numpy as np

#: Tolerance of a contour, as a share of the image diagonal.
TOLERANCE = 0.008


def region_similarity(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """J: intersection over union of masks.

    Args:
        found, truth: (T, H, W) bool.

    Returns:
        (T,) in [0, 1]; 1 where both masks are empty.
    """
    both = np.count_nonzero(found & truth, axis=(1, 2))
    either = np.count_nonzero(found | truth, axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def contour_accuracy(found: np.ndarray, truth: np.ndarray,
                     tolerance: float = TOLERANCE) -> float:
    """F: harmonic mean of precision and recall of the boundary of a mask.

    A boundary pixel is correct if one of the other mask lies within a disk of radius
    ``tolerance`` times the image diagonal, rounded up to whole pixels.

    Args:
        found, truth: (H, W) bool.

    Returns:
        In [0, 1]; 1 if neither mask has a boundary, 0 if only one has.
    """
    found, truth = mask_boundary(found), mask_boundary(truth)
    if not found.any() or not truth.any():
        return float(found.any() == truth.any())
    disk = _disk(int(np.ceil(tolerance * np.hypot(*found.shape))))
    near_truth, near_found = (
        cv2.dilate(edge.view(np.uint8), disk).astype(bool) for edge in (truth, found))
    precision = np.count_nonzero(found & near_truth) / np.count_nonzero(found)
    recall = np.count_nonzero(truth & near_found) / np.count_nonzero(truth)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def mask_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a (H, W) bool mask that differ from the pixel right of, below, or right
    below them; the image border is no boundary."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode='edge')
    below, right, both = padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]
    return (mask ^ below) | (mask ^ right) | (mask ^ both)


def statistics(values: np.ndarray) -> dict[str, float]:
    """Mean, recall and decay of a measure over the frames of an object.

    Args:
        values: (T,) in [0, 1].

    Returns:
        ``mean``; ``recall``, the share of frames above 0.5; ``decay``, the mean of the
        first quarter of the frames minus that of the last.
    """
    edges = np.floor(np.linspace(0, len(values) - 1, 5) + 0.5).astype(int)
    # Adjacent quarters share a frame, as in the DAVIS code.
    first, last = values[edges[0]:edges[1] + 1], values[edges[3]:edges[4] + 1]
    return dict(mean=float(values.mean()), recall=float((values > 0.5).mean()),
                decay=float(first.mean() - last.mean()))


def score_clip(found: np.ndarray, truth: np.ndarray, void: int = 255
               ) -> dict[int, dict[str, dict[str, float]]]:
    """J and F of each object of a video.

    Args:
        found, truth: (T, H, W) object ids, 0 for none. Objects are those of the first
            frame of ``truth``.
        void: Id of pixels that are ignored.

    Returns:
        Object id to ``J`` and ``F``, each with ``mean``, ``recall``, ``decay``.

    Raises:
        ValueError: If shapes differ, or no frame is left to evaluate.
    """
    if found.shape != truth.shape or truth.ndim != 3 or len(truth) < 3:
        raise ValueError(
            'found and truth must be (T, H, W) of one shape with T of 3 or more (the '
            f'first and last frame do not count), got {found.shape} and {truth.shape}.')
    objects = [int(i) for i in np.unique(truth[0]) if i not in (0, void)]
    predicted, labels = found[1:-1], truth[1:-1]
    valid = labels != void
    scores = {}
    for i in objects:
        mine, true = (predicted == i) & valid, labels == i
        f = np.array([contour_accuracy(*pair) for pair in zip(mine, true, strict=True)])
        scores[i] = dict(J=statistics(region_similarity(mine, true)), F=statistics(f))
    return scores


@cache
def _disk(radius: int) -> np.ndarray:
    x = np.arange(-radius, radius + 1)
    return (x[:, None] ** 2 + x ** 2 <= radius ** 2).astype(np.uint8)
