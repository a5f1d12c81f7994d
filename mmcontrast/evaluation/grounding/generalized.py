"""Score phrases that mean any number of objects: GREC by boxes, GRES by masks."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...registry import METRICS
from .base import RejectingMaskMetric, ThresholdMetric, check_choice
from .overlaps import OVERLAPS, greedy_matches
from .samples import existence, labeled_boxes, predicted_boxes
from .scores import MaskAreas, grec_scores, gres_scores, sample_f1

# Samples that are padded to one number of boxes.
_PART = 512


@METRICS.register_module()
class GRECMetric(ThresholdMetric):
    """Generalized referring expression comprehension, as on gRefCOCO.

    Boxes with a score above the threshold (compared as double) are matched with the
    objects that the phrase means: greedily, the largest overlap first, down to
    ``iou_thr``. Scores in percent:

    - ``F1score``: share of samples whose F1 = 2 TP / (2 TP + FP + FN) reaches
      ``f1_thr``; without a target, those without a box;
    - ``N_acc``: samples without target and box, of those without target;
    - ``T_acc``: samples with target and box, of those with target.

    Args:
        score_thr, calibration: See
            :class:`~mmcontrast.evaluation.grounding.base.ThresholdMetric`.
        match: ``giou``, the generalized IoU, which the published numbers use; or
            ``iou``, the usual one, which accepts more boxes.
        iou_thr: Smallest overlap of a match.
        f1_thr: F1 from which a sample counts.
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'GREC'

    def __init__(self, score_thr: float | Sequence[float] | None = None,
                 calibration: str | None = None, match: str = 'giou',
                 iou_thr: float = 0.5, f1_thr: float = 1.0,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(score_thr, calibration, collect_device, prefix)
        self.overlap = OVERLAPS[check_choice(self, 'match', match, OVERLAPS)]
        self.iou_thr, self.f1_thr = iou_thr, f1_thr

    def measure(self, samples: Sequence[Mapping]) -> list[tuple]:
        """Overlaps (Q, K) of boxes above a threshold, their scores, existence."""
        kept = []
        for sample in samples:
            boxes, scores = predicted_boxes(sample)
            # As doubles: float32(0.8) lies above 0.8.
            above = scores.astype(np.float64) > min(self.score_thrs)
            kept.append((self.overlap(boxes[above], labeled_boxes(sample)),
                         scores[above].astype(np.float64), existence(sample)))
        return kept

    def columns(self, results: list) -> list[list['_Part']]:
        self.check_any(results)
        return [[_padded(*zip(*results[start:start + _PART], strict=True))
                 for start in range(0, len(results), _PART)]]

    def scores_at(self, threshold: float, parts: list['_Part']) -> dict[str, float]:
        columns = [self._matched(threshold, part) for part in parts]
        matched, num_kept, num_labeled = map(np.concatenate, zip(*columns, strict=True))
        return grec_scores(sample_f1(matched, num_kept, num_labeled), num_labeled > 0,
                           num_kept, self.f1_thr)

    def _matched(self, threshold: float, part: '_Part') -> tuple[np.ndarray, ...]:
        """Pairs, boxes that are kept, and labeled boxes of each sample."""
        kept = (part.scores > threshold) & ~self.lacks_existence(part.exists)[:, None]
        overlaps = np.where(kept[..., None], part.overlaps, -np.inf)
        return greedy_matches(overlaps, self.iou_thr), kept.sum(1), part.num_labeled


class _Part(NamedTuple):
    """Some of the samples, with as many boxes each as the largest of them has.

    Attributes:
        overlaps: (N, Q, K), -inf where there is no box.
        scores: (N, Q), -inf where there is no box.
        exists: (N,).
        num_labeled: (N,) int64.
    """

    overlaps: np.ndarray
    scores: np.ndarray
    exists: np.ndarray
    num_labeled: np.ndarray


def _padded(overlaps: Sequence[np.ndarray], scores: Sequence[np.ndarray],
            exists: Sequence[float]) -> _Part:
    num_kept, num_labeled = np.array([each.shape for each in overlaps]).T
    is_box = np.arange(num_kept.max()) < num_kept[:, None]
    is_labeled = np.arange(num_labeled.max()) < num_labeled[:, None]
    both = is_box[..., None] & is_labeled[:, None]
    return _Part(_filled(both, overlaps), _filled(is_box, scores), np.array(exists),
                 num_labeled)


def _filled(places: np.ndarray, values: Sequence[np.ndarray]) -> np.ndarray:
    """``values`` one after the other at the places that are True, -inf elsewhere."""
    filled = np.full(places.shape, -np.inf)
    filled[places] = np.concatenate([each.ravel() for each in values])
    return filled


@METRICS.register_module()
class GRESMetric(RejectingMaskMetric):
    """Generalized referring expression segmentation, as on gRefCOCO.

    A sample is rejected if no score is above the threshold. Scores in percent:

    - ``gIoU``: mean IoU (no relation to the generalized IoU of boxes). A rejected
      sample has 1 without a target and 0 with one; not rejected without one, 0;
    - ``cIoU``: of the summed pixels; wrong decisions add to the union alone;
    - ``Pr@0.7``, ``Pr@0.8``, ``Pr@0.9``: share with that IoU, of those with a target;
    - ``N_acc`` and ``T_acc``: right decisions without and with a target, 0 if every
      sample has one.

    Args:
        resolution, score_thr, calibration, collect_device, prefix: See
            :class:`~mmcontrast.evaluation.grounding.base.RejectingMaskMetric`.
    """

    default_prefix = 'GRES'

    def mask_scores(self, areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray
                    ) -> dict[str, float]:
        return gres_scores(areas, targeted, rejected)
