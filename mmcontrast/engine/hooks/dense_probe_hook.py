"""Measure a backbone with a dense probe while it is pretrained."""
import time

from mmengine.runner import Runner
from torch import nn

from ...datasets.absent_classes import result_note
from ...datasets.labeled_images import LabeledImages, load_labeled_images
from ...datasets.segmented_images import UNLABELED
from ...evaluation.dense_probe import dense_probe
from ...evaluation.features import feature_maps, normalization_of
from ...registry import HOOKS
from ..distributed.unwrap import unwrap_model
from ..resume.rng_state import preserved_rng
from .intervals import IntervalHook, on_rank_0


@HOOKS.register_module()
class DenseProbeHook(IntervalHook):
    """Segment a small labeled set with a probe on the frozen backbone, at intervals.

    Logs ``probe/miou`` and ``probe/accuracy`` (in [0, 1]) to the log, the visualizer
    and the message hub, before training and at every interval. The network and the
    random generators are left as they were: a run with the hook gives the weights of a
    run without it. Rank 0 computes, the others wait.

    Args:
        train_dataset, val_dataset: Labeled sets, see
            :func:`~mmcontrast.datasets.labeled_images.load_labeled_images`:
            ``dict(img_dir=..., ann_dir=..., classes=[...])`` or a registered dataset.
            Read once and kept in memory.
        kind: ``knn`` or ``linear``, see
            :func:`~mmcontrast.evaluation.dense_probe.dense_probe`.
        interval: Epochs (iterations with ``by_epoch=False``) between two probes,
            or a share of the run, ``'20%'``.
        before_training: Also probe the weights that training starts from.
        out_index: Which map of the backbone.
        size: Side of the images in pixels, or (height, width). The default keeps a
            probe of a ResNet-50 in the range of seconds on a GPU; take the size of the
            images if small objects matter.
        num_train, num_val: Number of images taken of each set at most; None takes all.
        backbone: Where the backbone is in the model, ``momentum.backbone`` for the
            momentum encoder of PixPro.
        batch_size: Images per forward pass.
    """

    def __init__(self, train_dataset: dict, val_dataset: dict, kind: str = 'knn',
                 interval: int | str = 1, by_epoch: bool = True,
                 before_training: bool = True, out_index: int = -1,
                 size: int | tuple[int, int] = 192, num_train: int | None = 200,
                 num_val: int | None = 100, backbone: str = 'backbone',
                 batch_size: int = 16) -> None:
        super().__init__(interval, by_epoch, before_training)
        if kind not in ('knn', 'linear'):
            raise ValueError(
                f"DenseProbeHook: kind must be 'knn' or 'linear', got {kind!r}.")
        self.train_dataset, self.val_dataset = train_dataset, val_dataset
        self.kind, self.out_index, self.size = kind, out_index, size
        self.num_train, self.num_val = num_train, num_val
        self.backbone, self.batch_size = backbone, batch_size
        self._sets: tuple[LabeledImages, LabeledImages] | None = None

    def act(self, runner: Runner, step: int) -> None:
        """Measure and log after ``step`` iterations."""
        start = time.perf_counter()
        result = on_rank_0(lambda: self._measure(runner), 'dense probe')
        scalars = {f'probe/{name}': result[name] for name in ('miou', 'accuracy')}
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(scalars, step=step)
        runner.logger.info(_sentence(
            self.kind, step, result, self._sets, time.perf_counter() - start))
        for kind, where in (('untrained', 'cell of train_dataset'),
                            ('unlabeled', 'mask of val_dataset')):
            note = self._sets and result_note(
                self._sets[0].classes, result[f'{kind}_classes'], where)
            if note:
                runner.logger.warning(f'{self.kind} probe: {note}')

    def _measure(self, runner: Runner) -> dict:
        model = unwrap_model(runner.model)
        backbone = _submodule(model, self.backbone)
        mean, std = normalization_of(model)
        with preserved_rng():
            train, val = self._load()
            maps = [feature_maps(backbone, images.images, self.out_index, mean, std,
                                 self.batch_size) for images in (train, val)]
            return dense_probe(
                maps[0], train.labels, maps[1], val.labels, len(train.classes),
                self.kind, UNLABELED)

    def _load(self) -> tuple[LabeledImages, LabeledImages]:
        if self._sets is None:
            train = load_labeled_images(self.train_dataset, self.size, self.num_train)
            val = load_labeled_images(self.val_dataset, self.size, self.num_val)
            if train.classes != val.classes:
                raise ValueError(
                    f'DenseProbeHook: train_dataset has the classes {train.classes}, '
                    f'val_dataset {val.classes}; they must be the same.')
            self._sets = train, val
        return self._sets


def _submodule(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        parts = [part for part, _ in model.named_children()]
        raise ValueError(
            f'DenseProbeHook: {type(model).__name__} has no module {name!r}; it has '
            f'{parts}.') from None


def _sentence(kind: str, step: int, result: dict,
              sets: tuple[LabeledImages, LabeledImages] | None, took: float) -> str:
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
