"""Score phrases that mean one object: REC by boxes, RES by masks."""
from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import UserValueError
from ...registry import METRICS
from .base import GroundingMetric, check_choice
from .overlaps import pairwise_iou
from .samples import (
    RESOLUTIONS,
    labeled_boxes,
    measure_masks,
    predicted_boxes,
    sample_name,
)
from .scores import MaskAreas, mask_ious, shares_reaching

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)


@METRICS.register_module()
class RECMetric(GroundingMetric):
    """Referring expression comprehension: does the best box hit the object?

    Scores in percent: ``DetACC``, the share of phrases whose box with the highest score
    has an IoU of 0.5 or more with the object; and ``DetACC@0.5`` ... ``DetACC@0.9``.
    Of boxes with one score, that with the larger list of coordinates counts, as in the
    reference. Boxes are compared in pixels of the image: resizing does not change
    their IoU.

    Args:
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'REC'

    def measure(self, samples: Sequence[Mapping]) -> list[tuple[float]]:
        return [(_best_iou(sample),) for sample in samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        [ious] = self.columns(results)
        shares = shares_reaching(ious, _LEVELS)
        return dict(DetACC=shares[0]) | {
            f'DetACC@{level}': share
            for level, share in zip(_LEVELS, shares, strict=True)}


def _best_iou(sample: Mapping) -> float:
    """IoU of the best box with the object that the phrase means."""
    labeled = labeled_boxes(sample)
    if len(labeled) != 1:
        raise UserValueError(
            f'RECMetric: {sample_name(sample)} means {len(labeled)} objects; REC is '
            'about exactly one. Use GRECMetric for sets of none or several.')
    boxes, scores = predicted_boxes(sample)
    if not len(scores):
        return 0.0
    # The last key decides first.
    best = np.lexsort((*boxes.T[::-1], scores))[-1]
    return float(pairwise_iou(boxes[best:best + 1], labeled)[0, 0])


@METRICS.register_module()
class RESMetric(GroundingMetric):
    """Referring expression segmentation: how well does the mask fit?

    Scores in percent: ``mIoU``, the mean over phrases; ``oIoU``, of the summed pixels,
    which other papers call cIoU or overall IoU; and ``MaskACC@0.5`` ...
    ``MaskACC@0.9``, the share of phrases whose IoU reaches that.

    Args:
        resolution: ``input``, masks at the size of the network input, as the reference
            scores them; or ``original``, at that of the image.
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'RES'

    def __init__(self, resolution: str = 'input', collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.resolution = check_choice(self, 'resolution', resolution, RESOLUTIONS)

    def measure(self, samples: Sequence[Mapping]) -> list[tuple[int, int, int]]:
        areas = measure_masks(samples, self.resolution)
        return list(zip(areas.shared.tolist(), areas.predicted.tolist(),
                        areas.labeled.tolist(), strict=True))

    def compute_metrics(self, results: list) -> dict[str, float]:
        areas = MaskAreas(*self.columns(results))
        shares = shares_reaching(areas.iou, _LEVELS)
        return mask_ious(areas) | {
            f'MaskACC@{level}': share
            for level, share in zip(_LEVELS, shares, strict=True)}
