"""Score masks where some sentences are false: Ref-ZOM and R-RefCOCO."""
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from mmengine.logging import MMLogger

from ...errors import DataError, UserKeyError
from ...registry import METRICS
from .base import RejectingMaskMetric
from .samples import sample_name
from .scores import (
    MaskAreas,
    mask_ious,
    rejection_scores,
    rrefcoco_scores,
    shares_reaching,
)

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)


@METRICS.register_module()
class RefZOMMetric(RejectingMaskMetric):
    """Masks of Ref-ZOM, whose sentences mean no, one or several objects.

    Scores in percent: ``mIoU``, ``oIoU`` and ``Pr@0.5`` ... ``Pr@0.9`` of the samples
    with a target, rejected or not; and ``Acc``, the share of those without a target
    that are rejected.

    Args:
        resolution, score_thr, calibration, collect_device, prefix: See
            :class:`~mmcontrast.evaluation.grounding.base.RejectingMaskMetric`.
    """

    default_prefix = 'RefZOM'

    def mask_scores(self, areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray
                    ) -> dict[str, float]:
        shares = shares_reaching(areas[targeted].iou, _LEVELS)
        return (mask_ious(areas[targeted])
                | dict(Acc=rejection_scores(targeted, rejected)['N_acc'])
                | {f'Pr@{level}': share
                   for level, share in zip(_LEVELS, shares, strict=True)})


@METRICS.register_module()
class RRefCOCOMetric(RejectingMaskMetric):
    """Masks of R-RefCOCO, where each object has true and false sentences.

    A sample has the metainfo ``group_id``, its object, and ``sentence_id``, which no
    other sentence of the group has. A sentence that comes twice counts once, so that
    padding of the last batch on several ranks changes nothing.

    Scores in percent: ``mIoU``, ``oIoU``, ``mRR`` and ``rIoU``, see
    :func:`~mmcontrast.evaluation.grounding.scores.rrefcoco_scores`. Groups without a
    true or without a false sentence are left out, with a warning; the reference divides
    by zero.

    Args:
        resolution, score_thr, calibration, collect_device, prefix: See
            :class:`~mmcontrast.evaluation.grounding.base.RejectingMaskMetric`.
    """

    default_prefix = 'RRefCOCO'

    def measure(self, samples: Sequence[Mapping]) -> list[tuple]:
        return [(*row, *_sentence(sample)) for row, sample in zip(
            super().measure(samples), samples, strict=True)]

    def columns(self, results: list) -> list[np.ndarray]:
        rows = list({row[-2:]: row[:-1] for row in results}.values())
        groups: dict[Hashable, int] = {}
        rows = [(*row[:-1], groups.setdefault(row[-1], len(groups))) for row in rows]
        columns = super().columns(rows)
        complete = _complete(columns[3], columns[-1])
        if not complete.any():
            raise DataError(
                f'RRefCOCOMetric: none of {len(groups)} groups has a true and a false '
                'sentence. Check group_id, and evaluate whole splits.')
        kept = complete[columns[-1]]
        if not complete.all():
            MMLogger.get_current_instance().warning(
                f'RRefCOCOMetric: {(~complete).sum()} of {len(groups)} groups have no '
                'true or no false sentence and are left out.')
        columns = [column[kept] for column in columns]
        columns[-1] = np.unique(columns[-1], return_inverse=True)[1]
        return columns

    def mask_scores(self, areas: MaskAreas, targeted: np.ndarray, rejected: np.ndarray,
                    groups: np.ndarray) -> dict[str, float]:
        return rrefcoco_scores(areas, targeted, rejected, groups)


def _sentence(sample: Mapping) -> tuple[Hashable, Hashable]:
    """Group and sentence."""
    for key in ('group_id', 'sentence_id'):
        if sample.get(key) is None:
            raise UserKeyError(
                f'RRefCOCOMetric: {sample_name(sample)} has no {key}. Use the '
                'R-RefCOCO data set with its index file, whose groups the pipeline '
                'passes on as meta information.')
    return sample['group_id'], sample['sentence_id']


def _complete(targeted: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(G,) bool, which groups have a true and a false sentence."""
    num_true = np.bincount(groups, targeted)
    return (num_true > 0) & (num_true < np.bincount(groups))
