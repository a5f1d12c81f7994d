"""Score phrases that mean any number of objects: GREC by boxes, GRES by masks."""
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...registry import METRICS
from .base import RejectingMaskMetric, ThresholdMetric, check_choice
from .overlaps import OVERLAPS, greedy_matches
from .samples import existence, labeled_boxes, predicted_boxes
from .scores import MaskAreas, grec_scores, gres_scores, sample_f1

# Overlaps that are in memory together, 8 bytes each.
_CHUNK = 2 ** 22


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
        kept = []
        for sample in samples:
            boxes, scores = predicted_boxes(sample)
            # As doubles: float32(0.8) lies above 0.8.
            above = scores.astype(np.float64) > min(self.score_thrs)
            kept.append((boxes[above], scores[above].astype(np.float64),
                         labeled_boxes(sample), existence(sample)))
        return kept

    def columns(self, results: list) -> list:
        # Boxes of different numbers make no array.
        super().columns([(0,) for _ in results])
        return list(zip(*results, strict=True))

    def scores_at(self, threshold: float, boxes: Sequence[np.ndarray],
                  scores: Sequence[np.ndarray], labeled: Sequence[np.ndarray],
                  exists: Sequence[float]) -> dict[str, float]:
        rejected = self.lacks_existence(np.array(exists))
        chosen = [(found > threshold) & ~none
                  for found, none in zip(scores, rejected, strict=True)]
        boxes = [found[kept] for found, kept in zip(boxes, chosen, strict=True)]
        num_kept, num_labeled = (np.array([len(x) for x in several])
                                 for several in (boxes, labeled))
        matched = np.concatenate([
            greedy_matches(self._overlaps(boxes[part], labeled[part]), self.iou_thr)
            for part in _chunks(num_kept, num_labeled)])
        return grec_scores(sample_f1(matched, num_kept, num_labeled), num_labeled > 0,
                           num_kept, self.f1_thr)

    def _overlaps(self, boxes: Sequence[np.ndarray], labeled: Sequence[np.ndarray]
                  ) -> np.ndarray:
        """(N, Q, K) overlaps, -inf where a sample has fewer boxes."""
        found, is_found = _padded(boxes)
        true, is_true = _padded(labeled)
        both = is_found[:, :, None] & is_true[:, None]
        return np.where(both, self.overlap(found, true), -np.inf)


def _chunks(num_kept: np.ndarray, num_labeled: np.ndarray) -> Iterator[slice]:
    """Parts of the samples whose overlaps fit into memory."""
    size = max(1, _CHUNK // max(1, int(num_kept.max() * num_labeled.max())))
    for start in range(0, len(num_kept), size):
        yield slice(start, start + size)


def _padded(boxes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of N samples as (N, Q, 4), and (N, Q) bool where they are real."""
    counts = np.array([len(each) for each in boxes])
    real = np.arange(counts.max()) < counts[:, None]
    padded = np.zeros((*real.shape, 4))
    padded[real] = np.concatenate(boxes)
    return padded, real


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
