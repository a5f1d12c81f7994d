"""Check that heads, class list and labels of a run fit together."""
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.fileio import load
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...datasets.absent_classes import absence_note
from ...datasets.coco_annotations import check_class_names
from ...errors import UserValueError
from ...registry import HOOKS
from ...structures.protocols import HasIdleHeads, OpenVocabulary
from ..distributed.unwrap import classes_of, leaf_datasets, unwrap_model
from .class_texts import (
    check_class_texts,
    check_label_range,
    check_order,
    note_class_texts,
)

# Heads of mmdet and mmseg whose num_classes does not count the classes of the data set:
# by name in the model (objectness; stuff classes alone) and by type (boundaries; text
# tokens). Other heads say so in an attribute predicts_dataset_classes = False.
_OTHER_NAMES = ('rpn_head', 'semantic_head')
_OTHER_TYPES = ('STDCHead', 'GroundingDINOHead')


@HOOKS.register_module()
class ClassCheckHook(Hook):
    """Stop a run whose heads, class list and labels do not fit together.

    mmseg trains a head with too many classes silently and fails on too few in the cross
    entropy, on a GPU as a device-side assert; mmdet drops class names that its
    annotation file lacks. This hook reports it first: :func:`check_classes` runs before
    training and testing, :func:`check_labels` on the labels of every training batch
    while they are still on the CPU. Class texts of a model that reads some are saved in
    its checkpoints and compared when they are loaded.

    Works with mmseg, mmdet and mmpretrain models by their attributes and imports none
    of these libraries; models without such heads (pretraining) are not checked.
    """

    #: The model, if it has an open vocabulary.
    open_vocabulary: nn.Module | None = None
    _seen: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        check_classes(runner)
        for part in leaf_datasets(runner.train_dataloader.dataset):
            warn_of_one_class(part, runner.logger)
        self.heads = class_heads(runner.model)
        model = unwrap_model(runner.model)
        self.open_vocabulary = model if isinstance(model, OpenVocabulary) else None

    def before_train_iter(
            self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        if self.heads:
            check_labels(self.heads, data_batch.get('data_samples') or ())
        elif self.open_vocabulary:
            check_trained_labels(self.open_vocabulary,
                                 data_batch.get('data_samples') or ())

    def before_test(self, runner: Runner) -> None:
        check_classes(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self._seen = None

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                       outputs: Sequence | None = None) -> None:
        self._note_labels(runner.val_dataloader.dataset, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._name_absent(runner, runner.val_dataloader.dataset, 'validation')

    before_test_epoch = before_val_epoch

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        self._note_labels(runner.test_dataloader.dataset, outputs)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._name_absent(runner, runner.test_dataloader.dataset, 'test')

    def _note_labels(self, dataset: object, outputs: Sequence | None) -> None:
        count = len(_classes_of(dataset))
        if self._seen is None:
            self._seen = torch.zeros(count, dtype=torch.int64)
        for sample in outputs or () if count else ():
            labels = _labels(sample) if isinstance(sample, BaseDataElement) else None
            if labels is not None and labels.numel():
                values = _values(labels).cpu()
                self._seen[values[(values >= 0) & (values < count)]] = 1

    def _name_absent(self, runner: Runner, dataset: object, what: str) -> None:
        classes = _classes_of(dataset)
        seen = self._seen if self._seen is not None else torch.zeros(
            len(classes), dtype=torch.int64)
        if not classes:
            return
        all_reduce(seen, 'max')
        found = seen.nonzero().flatten().tolist()
        # Without any label, the metric reads them from a file.
        note = found and absence_note(classes, found, f'label of the {what} set')
        if note:
            runner.logger.warning(f'{note}: no score is about them')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        note_class_texts(unwrap_model(runner.model), checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        check_class_texts(unwrap_model(runner.model), checkpoint,
                          getattr(runner, '_load_from', None) or 'the checkpoint')


def check_classes(runner: Runner) -> None:
    """Compare each head's class count with the class list of each built dataset.

    Raises:
        ValueError: If a head's ``num_classes`` is not the length of a dataset's
            ``classes``, or if an annotation file lacks some of these classes.
    """
    heads = class_heads(runner.model)
    checked = heads or isinstance(unwrap_model(runner.model), OpenVocabulary)
    for split, dataset in built_datasets(runner):
        classes = classes_of(dataset)
        if checked and classes is not None:
            _check_counts(heads, classes, split, dataset)
            check_order(unwrap_model(runner.model), classes, split)
            for part in leaf_datasets(dataset):
                _check_annotated(part, classes_of(part) or classes, split)


def warn_of_one_class(dataset: object, logger: logging.Logger, num: int = 16) -> None:
    """Warn if a sample of the label maps of a dataset holds one class alone.

    Masks of 0 and 255 for two classes are the usual reason: 255 is ignored.
    """
    classes = _classes_of(dataset)
    loader = next((step for step in getattr(
        getattr(dataset, 'pipeline', None), 'transforms', ())
        if getattr(step, 'with_seg', False)), None)
    if loader is None or len(classes) < 2 or len(dataset) == 0:
        return
    values: set[int] = set()
    picks = {round(k * (len(dataset) - 1) / max(1, num - 1)) for k in range(num)}
    for idx in sorted(picks):
        # Files that cannot be read are reported where they are needed.
        with suppress(Exception):
            info = dataset.get_data_info(idx)
            if not info.get('seg_map_path'):
                return
            values.update(np.unique(loader(info)['gt_seg_map']).tolist())
        seen = [value for value in values if 0 <= value < len(classes)]
        if len(seen) > 1:
            return
    ignored = next((value for value in values if value >= len(classes)), None)
    note = seen and absence_note(classes, seen, f'mask of a sample of {len(picks)}',
                                 ignored)
    if note:
        logger.warning(f'{note}. See tools/doctor.py.')


def _classes_of(dataset: object) -> Sequence[str]:
    classes = classes_of(dataset) or ()
    return () if isinstance(classes, str) else classes


def check_labels(heads: dict[str, nn.Module], data_samples: Sequence) -> None:
    """Check that the labels of a batch lie within the heads' classes.

    Args:
        heads: Name to head, from :func:`class_heads`.
        data_samples: mmseg, mmdet or mmpretrain data samples of one batch.

    Raises:
        ValueError: If a label is neither a class index nor the head's ``ignore_index``.
    """
    for sample in data_samples:
        labels = _labels(sample)
        if labels is None or labels.numel() == 0:
            continue
        values = _values(labels)
        for name, head in heads.items():
            _check_range(values, name, head, getattr(sample, 'img_path', 'a sample'))


def check_trained_labels(model: nn.Module, data_samples: Sequence) -> None:
    """Check that the labels of a batch are trained classes of an open vocabulary.

    Raises:
        ValueError: If a label is none; names the image.
    """
    for sample in data_samples:
        labels = _labels(sample)
        if labels is not None:
            check_label_range(model, labels, getattr(sample, 'img_path', 'a sample'))


def class_heads(model: nn.Module) -> dict[str, nn.Module]:
    """The heads of ``model`` that predict the classes of its dataset, by name.

    A module may list heads that take no part as ``idle_heads``; a head whose
    ``num_classes`` counts something else has ``predicts_dataset_classes = False``.
    """
    model = unwrap_model(model)
    idle = {getattr(module, name, None) for module in model.modules()
            if isinstance(module, HasIdleHeads) for name in module.idle_heads}
    return {
        name: module for name, module in model.named_modules()
        if _last_part(name).endswith('head') and module not in idle
        and not _last_part(name).endswith(_OTHER_NAMES)
        and type(module).__name__ not in _OTHER_TYPES
        and getattr(module, 'predicts_dataset_classes', True)
        and isinstance(getattr(module, 'num_classes', None), int)}


def built_datasets(runner: Runner) -> Iterator[tuple[str, object]]:
    """The datasets that ``runner`` has already built, with the name of their loader."""
    for split in ('train', 'val', 'test'):
        loop = getattr(runner, f'_{split}_loop')
        # A loop that is not built yet is still a config.
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        if hasattr(dataset, 'metainfo'):
            yield split, dataset


def _check_counts(
        heads: dict[str, nn.Module], classes: Sequence[str], split: str,
        dataset: object) -> None:
    if isinstance(classes, str):
        raise UserValueError(
            f'classes of {split}_dataloader is the single string {classes!r}, expected '
            f"a list of names: write classes=('{classes}', ).")
    for name, head in heads.items():
        if head.num_classes != len(classes):
            raise UserValueError(
                f'model.{name} ({type(head).__name__}) predicts num_classes='
                f'{head.num_classes}, but {type(dataset).__name__} of '
                f'{split}_dataloader has {len(classes)} classes: {_shorten(classes)}. '
                f'Set model.{name}.num_classes={len(classes)} or correct '
                f'metainfo.classes of the dataset.')


def _check_annotated(dataset: object, classes: Sequence[str], split: str) -> None:
    # mmdet's CocoDataset keeps the ids of those names that its file knows.
    found = getattr(dataset, 'cat_ids', None)
    if found is None or len(found) == len(classes):
        return
    names = [category['name'] for category in load(dataset.ann_file)['categories']]
    check_class_names(f'{dataset.ann_file} of {split}_dataloader', classes, names)


def _check_range(values: Tensor, name: str, head: nn.Module, image: str) -> None:
    ignore_index = getattr(head, 'ignore_index', None)
    wrong = (values < 0) | (values >= head.num_classes)
    if ignore_index is not None:
        wrong &= values != ignore_index
    if wrong.any():
        raise UserValueError(
            f'{image} holds the labels {values[wrong].tolist()}, but '
            f'model.{name} ({type(head).__name__}) knows 0 to {head.num_classes - 1}'
            + (f' and ignore_index={ignore_index}' if ignore_index is not None else '')
            + '. Check num_classes, ignore_index and reduce_zero_label, or the file.')


def _values(labels: Tensor) -> Tensor:
    """The distinct labels; ``bincount`` is several times faster than ``unique``."""
    least, most = labels.aminmax()
    if least < 0 or most >= 2 ** 16:
        return labels.unique()
    return labels.flatten().bincount().nonzero().flatten()


def _labels(sample: object) -> Tensor | None:
    """Labels of a data sample: a map (mmseg), one per box (mmdet) or one per image."""
    if 'gt_sem_seg' in sample and 'gt_instances' not in sample:
        return sample.gt_sem_seg.data
    if 'gt_instances' in sample:
        return sample.gt_instances.get('labels')
    return sample.get('gt_label')


def _last_part(name: str) -> str:
    """``roi_head.bbox_head.0`` -> ``bbox_head``."""
    parts = [part for part in name.split('.') if not part.isdigit()]
    return parts[-1] if parts else ''


def _shorten(names: Sequence[str], most: int = 12) -> str:
    shown = ', '.join(map(str, names[:most]))
    return shown + (f', ... ({len(names)})' if len(names) > most else '')
