"""A dense probe at intervals: does the backbone get better while it pretrains?"""
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ...evaluation.dense_probe import dense_probe
from ...evaluation.features import IMAGENET_MEAN, IMAGENET_STD, feature_maps
from ...evaluation.labelled_images import IGNORE, LabelledImages, load_labelled_images
from ...registry import HOOKS


@HOOKS.register_module()
class DenseProbeHook(Hook):
    """Segment a small labelled set with a probe on the frozen backbone, now and then.

    Logs ``probe/miou`` and ``probe/accuracy`` (in [0, 1]) to the log, the visualizer
    and the message hub, before training and at every interval. The network and the
    random generators are left as they were: a run with the hook gives the weights of a
    run without it. Rank 0 computes, the others wait.

    Args:
        train_dataset, val_dataset: Labelled sets, see
            :func:`~mmcontrast.evaluation.labelled_images.load_labelled_images`:
            ``dict(img_dir=..., ann_dir=..., classes=[...])`` or a registered dataset.
            Read once and kept in memory.
        kind: ``knn`` or ``linear``, see
            :func:`~mmcontrast.evaluation.dense_probe.dense_probe`.
        interval: Epochs (iterations with ``by_epoch=False``) between two probes.
        before_training: Also probe the weights that training starts from.
        out_index: Which map of the backbone.
        size: Side of the images in pixels, or (height, width). The default keeps a
            probe of a ResNet-50 in the range of seconds on a GPU; take the size of the
            pictures to judge small things.
        num_train, num_val: Most images taken of each set; None takes all.
        backbone: Where the backbone is in the model, ``momentum.backbone`` for the
            momentum twin of PixPro.
        batch_size: Images a pass.
    """

    priority = 'LOW'

    def __init__(self, train_dataset: dict, val_dataset: dict, kind: str = 'knn',
                 interval: int = 1, by_epoch: bool = True, before_training: bool = True,
                 out_index: int = -1, size: int | tuple[int, int] = 192,
                 num_train: int | None = 200, num_val: int | None = 100,
                 backbone: str = 'backbone', batch_size: int = 16) -> None:
        if interval < 1:
            raise ValueError(
                f'DenseProbeHook: interval must be 1 or more, got {interval}.')
        if kind not in ('knn', 'linear'):
            raise ValueError(
                f"DenseProbeHook: kind must be 'knn' or 'linear', got {kind!r}.")
        self.train_dataset, self.val_dataset = train_dataset, val_dataset
        self.kind, self.interval, self.by_epoch = kind, interval, by_epoch
        self.before_training = before_training
        self.out_index, self.size = out_index, size
        self.num_train, self.num_val = num_train, num_val
        self.backbone, self.batch_size = backbone, batch_size
        self._sets: tuple[LabelledImages, LabelledImages] | None = None

    def before_train(self, runner: Runner) -> None:
        if 'FullyShardedDataParallel' in type(runner.model).__name__:
            raise TypeError(
                'DenseProbeHook runs the backbone on one rank, which a model sharded '
                'by FSDP does not allow; remove the hook or train with DDP.')
        # A resumed run has its first point already.
        if self.before_training and runner.iter == 0:
            self._probe(runner, step=0)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._probe(runner, step=runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._probe(runner, step=runner.iter + 1)

    def _probe(self, runner: Runner, step: int) -> None:
        """Measure and log after ``step`` iterations."""
        start = time.perf_counter()
        result = self._result_of_rank_0(runner)
        scalars = {f'probe/{name}': result[name] for name in ('miou', 'accuracy')}
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(scalars, step=step)
        runner.logger.info(_sentence(
            self.kind, step, result, self._sets, time.perf_counter() - start))

    def _result_of_rank_0(self, runner: Runner) -> dict:
        outcome = [None]
        if is_main_process():
            try:
                outcome = [self._measure(runner)]
            except Exception as error:
                # The others wait for an answer; they get the reason instead.
                broadcast_object_list([f'{type(error).__name__}: {error}'])
                raise
        broadcast_object_list(outcome)
        if isinstance(outcome[0], str):
            raise RuntimeError(f'dense probe failed on rank 0: {outcome[0]}')
        return outcome[0]

    def _measure(self, runner: Runner) -> dict:
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        backbone = _submodule(model, self.backbone)
        mean, std = _normalisation(model)
        with preserved_rng():
            train, val = self._load()
            maps = [feature_maps(backbone, images.images, self.out_index, mean, std,
                                 self.batch_size) for images in (train, val)]
            return dense_probe(
                maps[0], train.labels, maps[1], val.labels, len(train.classes),
                self.kind, IGNORE)

    def _load(self) -> tuple[LabelledImages, LabelledImages]:
        if self._sets is None:
            train = load_labelled_images(self.train_dataset, self.size, self.num_train)
            val = load_labelled_images(self.val_dataset, self.size, self.num_val)
            if train.classes != val.classes:
                raise ValueError(
                    f'DenseProbeHook: train_dataset has the classes {train.classes}, '
                    f'val_dataset {val.classes}; they must be the same.')
            self._sets = train, val
        return self._sets


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Leave Python's, numpy's and torch's generators as they were found."""
    python, array = random.getstate(), np.random.get_state()
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = [torch.cuda.current_device()] if cuda else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)


def _submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        parts = [part for part, _ in model.named_children()]
        raise ValueError(
            f'DenseProbeHook: {type(model).__name__} has no module {name!r}; it has '
            f'{parts}.') from None


def _normalisation(model: nn.Module) -> tuple:
    """Mean and std that the model itself trains with, in grey levels."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean = getattr(preprocessor, 'mean', None)
    std = getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return IMAGENET_MEAN, IMAGENET_STD
    return mean, std


def _sentence(kind: str, step: int, result: dict,
              sets: tuple[LabelledImages, LabelledImages] | None, took: float) -> str:
    text = (f'{kind} probe after {step} iterations: mIoU {result["miou"]:.4f}, '
            f'accuracy {result["accuracy"]:.4f} ({took:.1f} s)')
    if sets is None:
        return text
    best = sorted(
        ((iou, name) for iou, name in
         zip(result['per_class_iou'], sets[0].classes, strict=True) if iou == iou),
        reverse=True)
    named = ', '.join(f'{name} {iou:.2f}' for iou, name in best)
    return f'{text}. IoU: {named}'
