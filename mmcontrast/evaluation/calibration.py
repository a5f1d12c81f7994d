"""Choose thresholds on scored phrases, and measure how far scores are probabilities."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..errors import UserValueError
from .grounding.overlaps import pairwise_iou

#: IoU from which a box lies on a target.
MIN_IOU = 0.5
# Existence thresholds that are tried at most.
_MOST_TRIED = 200


@dataclass(frozen=True)
class ScoredPhrases:
    """What a model made of N phrases about images whose content is known.

    Attributes:
        present: (N,) bool, whether the image shows what the phrase means.
        best: (N,) float64 in [0, 1], the best score of each; 0 without a box.
        exists: (N,) float64, predicted existence; NaN where the model has none.
        box_phrase: (M,) int64, the phrase that each box is for.
        box_scores: (M,) float64.
        box_right: (M,) bool, whether a box lies on a target of its phrase.
        target_phrase: (T,) int64, the phrase that means each target.
        target_scores: (T,) float64, the best score of a box on it; 0 without.
    """

    present: np.ndarray
    best: np.ndarray
    exists: np.ndarray
    box_phrase: np.ndarray
    box_scores: np.ndarray
    box_right: np.ndarray
    target_phrase: np.ndarray
    target_scores: np.ndarray

    def kept(self, score_thr: float, exists_thr: float | None) -> np.ndarray:
        """(N,) bool, the phrases that exist by these thresholds."""
        kept = self.best > score_thr
        # A model without existence says NaN, and the scores alone decide.
        return kept if exists_thr is None else kept & ~(self.exists < exists_thr)


@dataclass(frozen=True)
class ScoredPhrase:
    """A phrase with the boxes of a model and the true ones.

    Attributes:
        present: Whether the image shows what it means.
        boxes_xyxy, scores: (Q, 4) and (Q,) predicted.
        exists: Predicted existence; None if the model has none.
        targets_xyxy: (K, 4) true boxes; may be empty although ``present``.
    """

    present: bool
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    exists: float | None
    targets_xyxy: np.ndarray


def join_phrases(phrases: Sequence[ScoredPhrase]) -> ScoredPhrases:
    """Phrases as arrays; boxes lie on a target from :data:`MIN_IOU` on."""
    boxes, right, found = [], [], []
    for phrase in phrases:
        scores = np.asarray(phrase.scores, np.float64)
        hit = pairwise_iou(
            np.asarray(phrase.boxes_xyxy, np.float64).reshape(-1, 4),
            np.asarray(phrase.targets_xyxy, np.float64).reshape(-1, 4)) >= MIN_IOU
        boxes.append(scores)
        right.append(hit.any(1))
        found.append(np.where(hit, scores[:, None], 0).max(0, initial=0))
    numbers = np.arange(len(phrases))
    return ScoredPhrases(
        np.array([phrase.present for phrase in phrases], bool),
        np.array([scores.max(initial=0) for scores in boxes]),
        np.array([np.nan if phrase.exists is None else phrase.exists
                  for phrase in phrases], np.float64),
        np.repeat(numbers, list(map(len, boxes))), np.concatenate(boxes),
        np.concatenate(right), np.repeat(numbers, list(map(len, found))),
        np.concatenate(found))


def choose_thresholds(scored: ScoredPhrases, recall: float
                      ) -> tuple[float, float | None]:
    """Thresholds that keep enough present phrases and the fewest absent ones.

    Of n present phrases, k are kept so that a new phrase is kept with the probability
    ``recall``, on average over data sets of n: k >= ``recall`` (n + 1) for a threshold
    of scores, and one more if existence has a threshold, too. Keeping ``recall`` n
    would promise too much, the more the smaller the set. Where k would exceed n, all
    are kept. Source: order statistics, as in conformal prediction (Vovk et al., 2005);
    for two thresholds Calafiore and Campi, "The scenario approach to robust control
    design", 2006, Theorem 1.

    Args:
        scored: At least one of them present.
        recall: Probability that a phrase that is present keeps a box, in (0, 1].

    Returns:
        ``score_thr``, halfway between the last score that has to be kept and the next
        lower one; and ``exists_thr``, None unless it rejects more absent phrases than
        the scores alone. If too few phrases have a box at all, both are as low as
        possible.

    Raises:
        UserValueError: If ``recall`` is out of range or no phrase is present.
    """
    check_recall(recall)
    num_present = int(scored.present.sum())
    if not num_present:
        raise UserValueError('No phrase is about something that its image shows. A '
                             'calibration needs such phrases; check the labels.')
    needed = min(num_present, math.ceil(recall * (num_present + 1) - 1e-9))
    one_more = min(num_present, needed + 1)
    tried = [_rates_of(scored, needed, None), *(
        _rates_of(scored, one_more, exists_thr)
        for exists_thr in _existence_levels(scored, one_more))]
    return min(tried, key=lambda each: each[0])[1]


def check_recall(recall: float) -> None:
    """Check the recall that is asked for.

    Raises:
        UserValueError: If it is not in (0, 1].
    """
    if not 0 < recall <= 1:
        raise UserValueError(f'recall must lie in (0, 1], got {recall!r}.')


def expected_recall(num_kept: int, num_present: int, num_thresholds: int) -> float:
    """Share of new phrases that :func:`choose_thresholds` lets keep a box, at least.

    An average over data sets like the one at hand, of which ``num_kept`` were kept.
    """
    return max(0.0, (num_kept + 1 - num_thresholds) / (num_present + 1))


def _rates_of(scored: ScoredPhrases, needed: int, exists_thr: float | None
              ) -> tuple[tuple, tuple[float, float | None]]:
    """How bad the best threshold of scores is with one of existence, and both."""
    allowed = scored.kept(-1.0, exists_thr)
    own = np.sort(scored.best[allowed & scored.present])[::-1]
    score_thr = _below(own[min(needed, len(own)) - 1], scored.best) if len(own) else 0.0
    kept = scored.kept(score_thr, exists_thr)
    missing = max(0, needed - int(kept[scored.present].sum()))
    # Where nothing else differs, the scores alone, or the lower threshold.
    return (missing, int(kept[~scored.present].sum()),
            -1.0 if exists_thr is None else exists_thr), (score_thr, exists_thr)


def _existence_levels(scored: ScoredPhrases, needed: int) -> list[float]:
    """Thresholds of existence that keep ``needed`` present phrases."""
    values = scored.exists[scored.present]
    if np.isnan(scored.exists).any():
        return []
    spare = len(values) - needed
    levels = np.unique(np.sort(values)[:spare + 1])
    if len(levels) > _MOST_TRIED:
        levels = levels[np.linspace(0, len(levels) - 1, _MOST_TRIED).astype(int)]
    return [_below(level, scored.exists) for level in levels]


def _below(value: float, values: np.ndarray) -> float:
    """A number between ``value`` and the next lower one, or 0.

    It is a float32, as scores are, so that rounding it moves no score across.
    """
    lower = float(values[values < value].max(initial=0))
    middle = float(np.float32((lower + value) / 2))
    return middle if lower < middle < value else lower


def wilson_interval(part: int, whole: int, confidence: float = 0.95
                    ) -> tuple[float, float]:
    """Interval of a share that was measured on few samples, in [0, 1].

    Source: Wilson, "Probable inference, the law of succession, and statistical
    inference", 1927. Samples count as independent; several phrases of one image are
    less than that.
    """
    if not whole:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = part / whole, z * z / whole
    center = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread ** 2 / 4) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


@dataclass(frozen=True)
class Reliability:
    """How often phrases are present whose best score is about the same.

    Attributes:
        scores: (B,) mean best score of each bin; bins hold equal numbers of phrases.
        shares: (B,) share of its phrases that are present.
        intervals: (B, 2) 95 % intervals of the shares.
        counts: (B,) phrases.
        error: Expected calibration error: mean distance of the two, by phrases.
        curve: (2, P) scores and the probability that a monotone function gives them.
    """

    scores: np.ndarray
    shares: np.ndarray
    intervals: np.ndarray
    counts: np.ndarray
    error: float
    curve: np.ndarray


def reliability(scored: ScoredPhrases, num_bins: int = 10) -> Reliability:
    """Compare best scores with how often their phrases are present.

    The monotone function is the isotonic regression of presence on the score.
    """
    # Imported here: the rest of the package does not need scipy.
    from scipy.optimize import isotonic_regression
    order = np.argsort(scored.best, kind='stable')
    best, present = scored.best[order], scored.present[order].astype(float)
    bins = [part for part in np.array_split(np.arange(len(best)), num_bins)
            if len(part)]
    means = np.array([best[part].mean() for part in bins])
    shares = np.array([present[part].mean() for part in bins])
    counts = np.array(list(map(len, bins)))
    levels, inverse, weights = np.unique(best, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(inverse, present) / weights,
                                 weights=weights).x
    return Reliability(
        means, shares, np.array([wilson_interval(int(present[part].sum()), len(part))
                                 for part in bins]),
        counts, float(np.average(np.abs(means - shares), weights=counts)),
        np.stack([levels, fitted]))


def precision_recall(scores: np.ndarray, right: np.ndarray, found: np.ndarray
                     ) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at every score as the threshold, the highest first.

    Args:
        scores: (M,) of what is kept or not; 0 is never kept.
        right: (M,) bool.
        found: (T,) score up to which each thing to be found is found; 0 if never.
    """
    scores, right = scores[scores > 0], right[scores > 0]
    levels, counts = np.unique(scores, return_counts=True)
    hits = np.bincount(np.searchsorted(levels, scores), right, len(levels))
    kept = counts[::-1].cumsum()
    precision = hits[::-1].cumsum() / kept
    reached = np.searchsorted(np.sort(found), levels, side='left')
    return precision, (1 - reached / max(1, len(found)))[::-1]
