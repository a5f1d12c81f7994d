"""Score LVIS detections: AP, and AP of rare, common and frequent classes."""
from collections.abc import Sequence
from tempfile import TemporaryDirectory

import numpy as np
from mmdet.evaluation import LVISMetric
from mmengine.fileio import load
from mmengine.logging import MMLogger

from ...registry import METRICS

SCORES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')


class _NumpyWithFloat:
    """numpy as lvis-api 0.5.3 (2020) knows it: ``np.float`` is gone since 1.24."""

    float = float

    def __getattr__(self, name: str):
        return getattr(np, name)


def import_lvis():
    """lvis-api, made to work with the numpy that is installed.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import lvis.eval
    except ImportError as error:
        raise ImportError('LVIS scores need lvis-api: pip install lvis==0.5.3'
                          ) from error
    if not hasattr(np, 'float'):
        # Its own name for numpy; numpy itself stays as it is.
        lvis.eval.np = _NumpyWithFloat()
    return lvis


@METRICS.register_module()
class OVLVISMetric(LVISMetric):
    """LVIS v1 metric of boxes and masks: ``bbox_AP``, ``bbox_APr``, ``segm_APr``, ...

    lvis-api's federated evaluation. Differences from mmdet's ``LVISMetric``: it runs
    with numpy 1.24 and later, scores are not rounded, a mask's area decides whether it
    is small, and a test without any detection scores 0 instead of nothing. A frequency
    without ground truth scores -1, as in lvis-api.

    Args:
        ann_file: LVIS annotations, with ``neg_category_ids`` and
            ``not_exhaustive_category_ids`` of images and ``frequency`` of categories.
        metric: 'bbox', 'segm' or a list of both.
        max_dets: Detections per image that count, the best ones.
        format_only, outfile_prefix, collect_device, prefix, backend_args: Those of
            mmdet's metric.

    Raises:
        ImportError: If lvis-api is not installed.
    """

    def __init__(self, ann_file: str, metric: str | Sequence[str] = 'bbox',
                 max_dets: int = 300, format_only: bool = False,
                 outfile_prefix: str | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None, backend_args: dict | None = None) -> None:
        import_lvis()
        metrics = [metric] if isinstance(metric, str) else list(metric)
        if not metrics or not set(metrics) <= {'bbox', 'segm'}:
            raise ValueError("OVLVISMetric: metric must be 'bbox', 'segm' or a list of "
                             f'them, got {metric!r}.')
        super().__init__(
            ann_file, metrics, format_only=format_only, outfile_prefix=outfile_prefix,
            collect_device=collect_device, prefix=prefix, backend_args=backend_args)
        self.max_dets = max_dets

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores by name.

        Raises:
            ValueError: If the dataset has not one class a category.
            KeyError: If masks are to be scored and none were predicted.
        """
        self.cat_ids = self._lvis_api.get_cat_ids()
        classes = self.dataset_meta['classes']
        if len(classes) != len(self.cat_ids):
            raise ValueError(
                f'OVLVISMetric: the dataset has {len(classes)} classes, the annotation '
                f'file {len(self.cat_ids)} categories. Test with all of them, in the '
                'order of the file.')
        _, predictions = zip(*results, strict=True)
        with TemporaryDirectory() as folder:
            files = self.results2json(
                predictions, self.outfile_prefix or f'{folder}/results')
            if self.format_only:
                return {}
            if not set(self.metrics) <= set(files):
                raise KeyError('OVLVISMetric: metric=segm, but the model predicted no '
                               "masks. Use metric='bbox'.")
            found = {kind: load(files[kind]) for kind in self.metrics}
        return {f'{kind}_{name}': value for kind, detections in found.items()
                for name, value in self._scores(detections, kind).items()}

    def _scores(self, detections: list[dict], kind: str) -> dict[str, float]:
        if not detections:
            MMLogger.get_current_instance().warning(f'No {kind} was predicted.')
            return dict.fromkeys(SCORES, 0.0)
        if kind == 'segm':
            # With a box, lvis-api takes the area of the box for that of the mask.
            for detection in detections:
                del detection['bbox']
        lvis = import_lvis()
        evaluation = lvis.LVISEval(
            self._lvis_api,
            lvis.LVISResults(self._lvis_api, detections, self.max_dets), kind)
        evaluation.run()
        scores = evaluation.get_results()
        return {name: float(scores[name]) for name in SCORES}
