"""Evaluate dense features against masks, by probes and by clustering.
"""
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ....datasets.absent_classes import result_note
from ....datasets.labeled_images import evenly_spaced
from ....datasets.segmented_images import SegmentedImages, open_segmented_images
from ....datasets.workers import seed_worker
from ....evaluation.dense_probe import without_labels
from ....evaluation.features import FrozenBackbone, network_input
from ....evaluation.image_probes import PENALTIES
from ....evaluation.mask_protocols import (
    fit_knn,
    fit_linear,
    in_batches,
    sample_cells,
    score_clusters,
    score_probe,
)
from ....progress import run_bars, working
from .backbones import BackboneChoice
from .results import evaluate


def evaluate_masks(choice: BackboneChoice, data: str, protocol: str = 'dense-knn',
                   train_split: str = 'train', val_split: str = 'val',
                   size: int | None = None, fraction: float = 1.0,
                   max_images: int | None = None, max_cells: int = 20_000,
                   resolution: str = 'input', k: int = 20, temperature: float = 0.07,
                   penalties: Sequence[float] = PENALTIES, workers: int = 2,
                   baseline: str | None = None, out: str | None = None,
                   progress: bool = True, **layout) -> dict:
    """Segment images by a probe on the cells of a frozen backbone's map.

    Args:
        choice: The backbone.
        data: Folder in the layout of mmseg (``img_dir/SPLIT``, ``ann_dir/SPLIT``) or of
            COCO panoptic, see
            :func:`~mmcontrast.datasets.segmented_images.open_segmented_images`,
            which takes ``layout`` too.
        protocol: ``dense-knn`` or ``dense-linear``.
        size: Short side of the images in pixels; their own if None.
        fraction: Share of the training images whose labels are used, evenly spread.
        max_images: Maximum number of images of each split, evenly spread, before
            ``fraction``.
        max_cells: Maximum number of training cells, as many of each image.
        resolution: ``input`` judges every pixel of the masks, ``feature`` every cell.
        k, temperature: Of kNN.
        penalties: Of the linear probe; the cells of every fifth image pick one.
        workers, baseline, out: See :func:`evaluate_images`.

    Returns:
        See :func:`~.results.evaluate`.
    """
    if protocol not in ('dense-knn', 'dense-linear'):
        raise ValueError(
            f"protocol must be 'dense-knn' or 'dense-linear', got {protocol!r}.")
    if not 0 < fraction <= 1:
        raise ValueError(f'fraction must be in (0, 1], got {fraction}.')
    train, val = (open_segmented_images(data, split, **layout)
                  for split in (train_split, val_split))
    if train.classes != val.classes:
        raise ValueError(f'{data}: {train_split} has the classes {train.classes}, '
                         f'{val_split} {val.classes}; they must be the same.')
    count = len(evenly_spaced(len(train), max_images))
    picks = (evenly_spaced(len(train), max(1, round(fraction * count))),
             evenly_spaced(len(val), max_images))
    num_classes = len(train.classes)

    def measure(backbone: FrozenBackbone) -> dict:
        def pass_over(images: SegmentedImages, chosen: list[int], title: str):
            return map_batches(backbone, images, chosen, size, workers, title, progress)
        cells = sample_cells(pass_over(train, picks[0], train_split), len(picks[0]),
                             num_classes, max_cells, seed=choice.seed)
        held_out: dict = {}
        with working(f'fit {protocol}', progress):
            if protocol == 'dense-knn':
                score = fit_knn(cells, num_classes, k, temperature)
            else:
                score, held_out = fit_linear(cells, num_classes, penalties)
        found = score_probe(
            score, pass_over(val, picks[1], val_split), num_classes, resolution)
        return dict(
            scores=dict(mIoU=found['miou'], accuracy=found['accuracy']),
            per_class_iou=_by_class(found['per_class_iou'], val.classes),
            notes=[result_note(val.classes, absent, where) for absent, where in (
                (without_labels(cells.targets.bincount(minlength=num_classes)),
                 f'sampled cell of {train_split}'),
                (found['unlabeled_classes'], f'mask of {val_split}'))],
            cells=len(cells.targets), channels=cells.features.shape[1],
            held_out={f'{p:g}': v for p, v in held_out.items()})

    settings = dict(
        data=str(data), splits={train_split: len(picks[0]), val_split: len(picks[1])},
        size=size, fraction=fraction, max_cells=max_cells, resolution=resolution,
        **layout)
    settings |= (dict(k=k, temperature=temperature) if protocol == 'dense-knn'
                 else dict(penalties=list(penalties)))
    return evaluate(protocol, choice, settings, measure, baseline, out)


def evaluate_clusters(choice: BackboneChoice, data: str, split: str = 'val',
                      size: int | None = None, clusters: int | None = None,
                      restarts: int = 5, max_images: int | None = None,
                      max_cells: int = 20_000, workers: int = 2,
                      baseline: str | None = None, out: str | None = None,
                      progress: bool = True, **layout) -> dict:
    """Segment images by clusters of a frozen backbone's features, without training.

    Args:
        data, size, max_images, layout, workers, baseline, out: See
            :func:`evaluate_masks`.
        split: The set that is clustered, matched with its classes, and scored.
        clusters, restarts, max_cells: See
            :func:`~mmcontrast.evaluation.mask_protocols.score_clusters`.
    """
    images = open_segmented_images(data, split, **layout)
    picks = evenly_spaced(len(images), max_images)

    def measure(backbone: FrozenBackbone) -> dict:
        batches = partial(map_batches, backbone, images, picks, size, workers, split,
                          progress)
        found = score_clusters(batches, len(picks), len(images.classes), clusters,
                               restarts, max_cells, choice.seed)
        return dict(
            scores={'mIoU': found['miou'], 'accuracy': found['accuracy'],
                    'majority mIoU': found['majority_miou'],
                    'majority accuracy': found['majority_accuracy']},
            per_class_iou=_by_class(found['per_class_iou'], images.classes),
            notes=[result_note(images.classes, found['unlabeled_classes'],
                               f'mask of {split}')],
            cluster_of_class=found['cluster_of_class'], in_use=found['in_use'])

    settings = dict(
        data=str(data), splits={split: len(picks)}, size=size,
        clusters=clusters or len(images.classes), restarts=restarts,
        max_cells=max_cells, **layout)
    return evaluate('cluster', choice, settings, measure, baseline, out)


def map_batches(backbone: FrozenBackbone, images: SegmentedImages,
                picks: Sequence[int], size: int | None, workers: int, title: str,
                progress: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Maps (N, C, h, w) and labels (N, H, W), -1 for unlabeled, batch by batch."""
    inputs = _Inputs(images, picks, size, backbone.multiple)
    loader = DataLoader(inputs, batch_size=None, num_workers=workers,
                        worker_init_fn=seed_worker if workers else None)
    with run_bars(progress) as bar:
        yield from in_batches(
            bar.track(loader, description=title), backbone.batch_size, backbone)


class _Inputs(Dataset):
    """Some images of a set as the network takes them, and their labels."""

    def __init__(self, images: SegmentedImages, picks: Sequence[int], size: int | None,
                 multiple: int) -> None:
        self.images, self.picks = images, picks
        self.size, self.multiple = size, multiple

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        found = self.images[self.picks[index]]
        return (network_input(found.image, self.size, self.multiple),
                torch.from_numpy(found.labels))


def _by_class(iou: Sequence[float], classes: Sequence[str]) -> dict[str, float | None]:
    """JSON has no nan: None for a class that does not occur."""
    return {name: value if value == value else None
            for name, value in zip(classes, iou, strict=True)}
