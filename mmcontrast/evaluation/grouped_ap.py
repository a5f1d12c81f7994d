"""Compute COCO AP for groups of classes, such as base and novel ones."""
import contextlib
import io
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import load
from mmengine.logging import MMLogger

from ..datasets.coco_annotations import add_areas
from ..datasets.open_vocabulary import class_ids
from ..errors import did_you_mean
from ..registry import METRICS

# Positions in COCO's precision array of the IoU thresholds and of the areas.
_ALL_SCORES = dict(mAP=(slice(None), 0), mAP_50=(0, 0), mAP_75=(5, 0),
                   mAP_s=(slice(None), 1), mAP_m=(slice(None), 2),
                   mAP_l=(slice(None), 3))
_GROUP_SCORES = {name: _ALL_SCORES[name] for name in ('mAP', 'mAP_50')}


@METRICS.register_module()
class GroupedCocoMetric(BaseMetric):
    """mmdet's COCO metric, with additional scores for groups of classes.

    Besides the scores of all classes, named as mmdet names them (``bbox_mAP``,
    ``bbox_mAP_50``, ..., here not rounded), there are for a group G ``G/bbox_mAP`` and
    ``G/bbox_mAP_50``: means over its classes that have ground truth, NaN without any.
    Predictions are among all classes, not only those of the group.

    mmdet's ``OVCocoMetric`` has the groups base and novel alone, and with boxes and
    masks together only the scores of the masks.

    Args:
        groups: Name of a group to names of its classes. Default: ``base`` and
            ``novel``, from ``base_classes`` and ``novel_classes`` in the dataset's
            metainfo.
        ann_file, metric, format_only, outfile_prefix, sort_categories, backend_args:
            Those of mmdet's ``CocoMetric``; ``metric`` is 'bbox', 'segm' or both.
        classwise: Also return ``class/NAME/bbox_mAP`` and ``..._50``.
        max_dets: Detections per image and class that count, the best ones.
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'coco'

    def __init__(self, groups: Mapping[str, Sequence[str]] | None = None,
                 ann_file: str | None = None, metric: str | Sequence[str] = 'bbox',
                 classwise: bool = False, max_dets: int = 100,
                 format_only: bool = False, outfile_prefix: str | None = None,
                 sort_categories: bool = False, backend_args: dict | None = None,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        # Imported here: the rest of the package does not need mmdet.
        from mmdet.evaluation import CocoMetric
        super().__init__(collect_device, prefix)
        metrics = [metric] if isinstance(metric, str) else list(metric)
        if not metrics or not set(metrics) <= {'bbox', 'segm'}:
            raise ValueError("GroupedCocoMetric: metric must be 'bbox', 'segm' or a "
                             f'list of them, got {metric!r}.')
        self.whole = CocoMetric(
            ann_file, metrics, format_only=format_only, outfile_prefix=outfile_prefix,
            sort_categories=sort_categories, backend_args=backend_args)
        if self.whole._coco_api is not None:
            add_areas(self.whole._coco_api.dataset.get('annotations', []))
        self.place = str(ann_file or 'The ground truth')
        self.groups = groups
        self.classwise, self.max_dets = classwise, max_dets

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        self.whole.process(data_batch, data_samples)
        self.results += self.whole.results
        self.whole.results.clear()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores of all classes and of each group.

        Raises:
            ValueError: If a group names a class that the dataset does not have, or the
                dataset's classes do not fit the annotation file.
            KeyError: If masks are to be scored and none were predicted.
        """
        self.whole.dataset_meta = self.dataset_meta
        classes = list(self.dataset_meta['classes'])
        groups = {name: _indices(name, members, classes)
                  for name, members in self._groups().items()}
        if self.classwise:
            groups |= {f'class/{name}': [k] for k, name in enumerate(classes)}
        truth, detections = self._read(results, classes)
        scores = {}
        for kind in () if self.whole.format_only else self.whole.metrics:
            if kind not in detections:
                raise KeyError('GroupedCocoMetric: metric=segm, but the model '
                               "predicted no masks. Use metric='bbox'.")
            precision = self._precision(truth, detections[kind], kind)
            scores |= _scores(precision, kind, _ALL_SCORES)
            for name, members in groups.items():
                found = _scores(precision[:, :, members], kind, _GROUP_SCORES)
                scores |= {f'{name}/{key}': value for key, value in found.items()}
        return scores

    def _groups(self) -> Mapping[str, Sequence[str]]:
        if self.groups is not None:
            return self.groups
        missing = [key for key in ('base_classes', 'novel_classes')
                   if key not in self.dataset_meta]
        if missing:
            raise ValueError(
                f"GroupedCocoMetric: the dataset's metainfo has no {missing[0]}. Add "
                'it, or name groups=dict(NAME=[classes]) in the metric.')
        return {name: self.dataset_meta[f'{name}_classes']
                for name in ('base', 'novel')}

    def _read(self, results: list, classes: list[str]) -> tuple[object, dict]:
        """(mmdet's COCO of the ground truth, detections by 'bbox' and 'segm')."""
        from mmdet.datasets.api_wrappers import COCO
        gts, predictions = zip(*results, strict=True)
        whole = self.whole
        with TemporaryDirectory() as folder:
            prefix = whole.outfile_prefix or f'{folder}/results'
            truth = whole._coco_api or COCO(whole.gt_to_coco_json(gts, prefix))
            whole.cat_ids = class_ids(
                classes, truth.dataset['categories'], self.place)
            files = whole.results2json(predictions, prefix)
            return truth, {kind: load(files[kind]) for kind in ('bbox', 'segm')
                           if kind in files}

    def _precision(self, truth, detections: list[dict], kind: str) -> np.ndarray:
        """(T thresholds, R recalls, K classes, A areas) array; -1: no ground truth."""
        from mmdet.datasets.api_wrappers import COCO, COCOeval
        if kind == 'segm':
            # With a box, pycocotools takes the area of the box for that of the mask.
            detections = [{key: value for key, value in detection.items()
                           if key != 'bbox'} for detection in detections]
        # pycocotools prints.
        with contextlib.redirect_stdout(io.StringIO()):
            if detections:
                found = truth.loadRes(detections)
            else:
                MMLogger.get_current_instance().warning(f'No {kind} was predicted.')
                found = COCO()
                found.dataset = {**truth.dataset, 'annotations': []}
                found.createIndex()
            evaluation = COCOeval(truth, found, kind)
            evaluation.params.catIds = self.whole.cat_ids
            evaluation.params.maxDets = [self.max_dets]
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval['precision'][..., -1]


def _scores(precision: np.ndarray, kind: str, which: dict) -> dict[str, float]:
    """Means over classes with ground truth, by the names of mmdet's scores."""
    scores = {}
    for name, (threshold, area) in which.items():
        values = precision[threshold, ..., area]
        values = values[values > -1]
        scores[f'{kind}_{name}'] = float(values.mean()) if values.size else float('nan')
    return scores


def _indices(group: str, members: Sequence[str], classes: list[str]) -> list[int]:
    for name in members:
        if name not in classes:
            raise ValueError(
                f'GroupedCocoMetric: the group {group!r} names {name!r}, which is not '
                f'a class of the dataset{did_you_mean(name, classes)}')
    return [classes.index(name) for name in members]
