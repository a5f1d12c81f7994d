"""Compute IoU for groups of classes, such as seen and held-out ones."""
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..registry import METRICS


@METRICS.register_module()
class GroupedIoUMetric(BaseMetric):
    """mmseg's IoU metric, with additional scores for groups of classes.

    Besides mmseg's scores of all classes there are, for a group G in percent:
    ``G/mIoU`` and ``G/mAcc``, means over its classes as in mmseg, and ``G/aAcc``, the
    accuracy over the group's pixels. Predictions are among all classes, not only those
    of the group.

    Args:
        groups: Name of a group to names of its classes.
        collect_device, prefix: See mmengine's ``BaseMetric``.
        kwargs: Those of mmseg's ``IoUMetric``; only ``mIoU`` is grouped.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], collect_device: str = 'cpu',
                 prefix: str | None = None, **kwargs) -> None:
        # Imported here: the rest of the package does not need mmseg.
        from mmseg.evaluation import IoUMetric
        super().__init__(collect_device, prefix)
        self.whole = IoUMetric(**kwargs)
        self.groups = {name: tuple(classes) for name, classes in groups.items()}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        self.whole.dataset_meta = self.dataset_meta
        self.whole.process(data_batch, data_samples)
        self.results += self.whole.results
        self.whole.results.clear()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores of all classes and of each group.

        Raises:
            ValueError: If a group names a class that the dataset does not have.
        """
        self.whole.dataset_meta = self.dataset_meta
        metrics = self.whole.compute_metrics(results)
        if self.whole.format_only:
            return metrics
        names = list(self.dataset_meta['classes'])
        # (4, K): pixels in the intersection, the union, the prediction and the label.
        areas = np.array([[np.asarray(area) for area in areas]
                          for areas in results]).sum(0)
        for group, classes in self.groups.items():
            metrics.update(self._scores(group, areas[:, _indices(classes, names)]))
        return metrics

    @staticmethod
    def _scores(group: str, areas: np.ndarray) -> dict[str, float]:
        hit, union, _, label = areas
        # Classes that neither occur nor are predicted are left out, as in mmseg.
        ious, recalls = hit[union > 0] / union[union > 0], hit[label > 0] / label[
            label > 0]
        lost = not len(ious) or not len(recalls)
        values = (np.nan,) * 3 if lost else (
            ious.mean(), recalls.mean(), hit.sum() / label.sum())
        if lost:
            MMLogger.get_current_instance().warning(
                f'No pixel of the test set belongs to a class of the group {group!r}.')
        return {f'{group}/{name}': round(100 * float(value), 2)
                for name, value in zip(('mIoU', 'mAcc', 'aAcc'), values, strict=True)}


def _indices(classes: Sequence[str], names: list[str]) -> list[int]:
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(
            f'GroupedIoUMetric: the dataset has no class {unknown[0]!r}; its classes '
            f'are {", ".join(names)}.')
    return [names.index(name) for name in classes]
