"""Base classes of the grounding metrics: masks of a resolution, score thresholds."""
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from ...errors import DataError, UserValueError
from ..calibration_file import read_calibration
from .samples import (
    RESOLUTIONS,
    as_mapping,
    existence,
    is_targeted,
    measure_masks,
    top_score,
)
from .scores import MaskAreas

#: Score threshold of the benchmarks.
SCORE_THR = 0.7


class GroundingMetric(BaseMetric):
    """A metric of phrases, which keeps a few numbers of each sample.

    So a sample costs bytes, not masks, where ranks exchange what they have.

    Args:
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    def process(self, data_batch: dict, data_samples: Sequence) -> None:
        self.results += self.measure([as_mapping(sample) for sample in data_samples])

    @abstractmethod
    def measure(self, samples: Sequence[Mapping]) -> list:
        """What is kept of each sample; pickles, and is small."""

    def columns(self, results: list) -> list[np.ndarray]:
        """The kept numbers as one array each.

        Raises:
            DataError: If there is no sample.
        """
        self.check_any(results)
        return [np.array(column) for column in zip(*results, strict=True)]

    def check_any(self, results: list) -> None:
        if not results:
            raise DataError(f'{type(self).__name__}: no sample was evaluated. Check '
                            'the split and the size of the test set.')


class ThresholdMetric(GroundingMetric):
    """A metric with a score threshold, or several.

    Args:
        score_thr: A box counts if its score is above it. Of a list, every score is
            reported once a threshold, as ``F1score_0.7``. Default: 0.7, that of the
            benchmarks, or that of the calibration.
        calibration: File of ``tools/analysis/calibrate.py``, whose thresholds are used.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If a threshold is not in [0, 1), or both arguments are given.
    """

    def __init__(self, score_thr: float | Sequence[float] | None = None,
                 calibration: str | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if score_thr is not None and calibration is not None:
            raise UserValueError(
                f'{type(self).__name__}: score_thr={score_thr} and calibration='
                f'{calibration!r} both set the threshold. Give one of them.')
        self.exists_thr = None
        self.several = isinstance(score_thr, Sequence)
        if calibration is not None:
            read = read_calibration(calibration)
            score_thr, self.exists_thr = read.score_thr, read.exists_thr
        given = SCORE_THR if score_thr is None else score_thr
        self.score_thrs = list(given) if self.several else [given]
        if not self.score_thrs or not all(map(_is_threshold, self.score_thrs)):
            raise UserValueError(
                f'{type(self).__name__}: score_thr must be a number in [0, 1) or a '
                f'list of them, got {score_thr!r}.')

    def compute_metrics(self, results: list) -> dict[str, float]:
        columns = self.columns(results)
        scores = {}
        for threshold in self.score_thrs:
            ending = f'_{threshold:g}' if self.several else ''
            scores |= {f'{name}{ending}': value for name, value in self.scores_at(
                threshold, *columns).items()}
        return scores

    @abstractmethod
    def scores_at(self, threshold: float, *columns: Any) -> dict[str, float]:
        """Scores by name with one threshold, from :meth:`columns`."""

    def lacks_existence(self, exists: np.ndarray) -> np.ndarray:
        """(N,) bool, where the model says that the phrase means nothing.

        NaN, of a model without such a prediction, says nothing.
        """
        if self.exists_thr is None:
            return np.zeros(len(exists), bool)
        return exists < self.exists_thr


class RejectingMaskMetric(ThresholdMetric):
    """A metric of masks and of the decision that a phrase means nothing.

    A sample is rejected if no score is above the threshold (compared as float32), or
    if the calibration says so. The mask itself is taken as predicted.

    Args:
        resolution: ``input``, masks at the size of the network input, as the reference
            scores them; or ``original``, at that of the image.
        score_thr, calibration, collect_device, prefix: See :class:`ThresholdMetric`.
    """

    def __init__(self, resolution: str = 'input',
                 score_thr: float | Sequence[float] | None = None,
                 calibration: str | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(score_thr, calibration, collect_device, prefix)
        self.resolution = check_choice(self, 'resolution', resolution, RESOLUTIONS)

    def measure(self, samples: Sequence[Mapping]) -> list[tuple]:
        areas = measure_masks(samples, self.resolution)
        return list(zip(
            areas.shared.tolist(), areas.predicted.tolist(), areas.labeled.tolist(),
            map(is_targeted, samples), map(top_score, samples),
            map(existence, samples), strict=True))

    def scores_at(self, threshold: float, shared: np.ndarray, predicted: np.ndarray,
                  labeled: np.ndarray, targeted: np.ndarray, top: np.ndarray,
                  exists: np.ndarray, *more: np.ndarray) -> dict[str, float]:
        kept = top.astype(np.float32) > np.float32(threshold)
        return self.mask_scores(MaskAreas(shared, predicted, labeled), targeted,
                                ~kept | self.lacks_existence(exists), *more)

    @abstractmethod
    def mask_scores(self, areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray,
                    *more: np.ndarray) -> dict[str, float]:
        """Scores by name from the pixels and decisions of N samples."""


def check_choice(metric: Any, name: str, value: Any, choices: Mapping) -> Any:
    """``value``, if it is one of the choices."""
    if value not in choices:
        raise UserValueError(f'{type(metric).__name__}: {name} must be '
                             f'{" or ".join(map(repr, choices))}, got {value!r}.')
    return value


def _is_threshold(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= value < 1
