"""Score how well labeled placements are told apart: F1 and balanced accuracy."""
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from mmengine.evaluator import BaseMetric

from ...errors import DataError, UserKeyError, UserValueError
from ...registry import METRICS
from .sample import sample_name

COUNTS = ('TP', 'FP', 'FN', 'TN')


@METRICS.register_module()
class OPAMetric(BaseMetric):
    """F1 and balanced accuracy over all labeled placements of a dataset, as OPA's.

    A data sample holds the model's probability that a placement is reasonable, for
    each of its labels:

    - ``positive_scores``: (P,) float in [0, 1], in the order of ``positives``;
    - ``negative_scores``: (N,) float in [0, 1], in the order of ``negatives``.

    A score above the threshold means "reasonable". ``topnet`` fills in its heat map at
    the cell of the label, ``topnet_pair`` the softmax of its two logits at the labeled
    pixel, for which the threshold 0.5 is the argmax. Images without labels do not
    count. A sample of ``topnet_pair`` also has ``positive_counted`` and
    ``negative_counted``, (P,) and (N,) bool: of labels on one pixel one counts, a
    negative if there is one, as in the target maps of the released test.

    Scores: ``f1`` = 2 TP / (2 TP + FP + FN), ``bAcc`` = (TP / (TP + FN) + TN / (TN +
    FP)) / 2, and the counts ``TP``, ``FP``, ``FN``, ``TN``. A ratio without a
    denominator is 0, where the scripts of OPA and FOPA divide by zero.

    Source: Liu et al., "OPA: Object Placement Assessment Dataset", arXiv 2107.01889.

    Args:
        threshold: Probability above which a placement counts as reasonable.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If the threshold is not in [0, 1).
    """

    default_prefix = 'opa'

    def __init__(self, threshold: float = 0.5, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if not (isinstance(threshold, Real) and 0 <= threshold < 1):
            raise UserValueError('OPAMetric: threshold is a probability in [0, 1), got '
                                 f'{threshold!r}.')
        self.threshold = threshold

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        self.results += [self._counts(sample) for sample in data_samples]

    def _counts(self, sample: Mapping) -> tuple[int, int, int, int]:
        """TP, FP, FN, TN of one image."""
        found = []
        for kind in ('positive', 'negative'):
            scores = _scores(sample, kind)
            scores = scores[_counted(sample, kind, scores)]
            accepted = int((scores > self.threshold).sum())
            found += [accepted, scores.numel() - accepted]
        true_positive, false_negative, false_positive, true_negative = found
        return true_positive, false_positive, false_negative, true_negative

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores and counts by name.

        Raises:
            DataError: If there is no label.
        """
        counts = [sum(column) for column in zip(*results, strict=True)]
        if not sum(counts):
            raise DataError(f'OPAMetric: none of {len(results)} images has a labeled '
                            'placement. Test on pair files with labels.')
        f1, balanced = f1_and_balanced_accuracy(*counts)
        return dict(f1=f1, bAcc=balanced, **dict(zip(COUNTS, counts, strict=True)))


def f1_and_balanced_accuracy(true_positive: int, false_positive: int,
                             false_negative: int, true_negative: int
                             ) -> tuple[float, float]:
    """Both from the counts; ratios without a denominator are 0."""
    f1 = _ratio(2 * true_positive,
                2 * true_positive + false_positive + false_negative)
    recall = _ratio(true_positive, true_positive + false_negative)
    specificity = _ratio(true_negative, true_negative + false_positive)
    return f1, (recall + specificity) / 2


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _scores(sample: Mapping, kind: str) -> torch.Tensor:
    """The scores of one image, checked."""
    name = f'{kind}_scores'
    if name not in sample:
        raise UserKeyError(
            f'OPAMetric: {sample_name(sample)} has no {name}, only {sorted(sample)}. '
            "The model must predict them: its probability of 'reasonable' at each "
            'label.')
    scores = torch.as_tensor(sample[name])
    labels = sample.get(f'{kind}s')
    if scores.ndim != 1 or labels is not None and len(scores) != len(labels):
        known = '' if labels is None else f' for {len(labels)} {kind}s'
        raise UserValueError(
            f'OPAMetric: {sample_name(sample)} has {name} of shape '
            f'{tuple(scores.shape)}{known}; expected one score for each {kind}.')
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise UserValueError(
            f'OPAMetric: {name} of {sample_name(sample)} must be probabilities in '
            f'[0, 1], got {scores.tolist()[:5]}. Apply sigmoid or softmax.')
    return scores


def _counted(sample: Mapping, kind: str, scores: torch.Tensor) -> torch.Tensor:
    """Which labels of one image count: (N,) bool."""
    name = f'{kind}_counted'
    if sample.get(name) is None:
        return torch.ones_like(scores, dtype=torch.bool)
    counted = torch.as_tensor(sample[name], device=scores.device)
    if counted.shape != scores.shape or len(scores) and counted.dtype != torch.bool:
        raise UserValueError(
            f'OPAMetric: {sample_name(sample)} has {name} of type {counted.dtype} and '
            f'shape {tuple(counted.shape)}; expected a bool for each of '
            f'{len(scores)} scores.')
    return counted.bool()
