"""Evaluate features by kNN and a linear probe on image labels."""
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ....datasets.absent_classes import result_note
from ....datasets.center_crops import CenterCroppedImages
from ....datasets.image_lists import list_folder
from ....datasets.labeled_images import evenly_spaced
from ....datasets.workers import seed_worker
from ....evaluation.features import FrozenBackbone
from ....evaluation.image_probes import (
    PENALTIES,
    LabeledFeatures,
    knn_accuracies,
    linear_accuracy,
)
from ....progress import run_bars, working
from .backbones import BackboneChoice
from .results import evaluate

# Of the short side that the middle crop keeps: 224 of 256.
_CROPPED = 224 / 256


def evaluate_images(choice: BackboneChoice, data: str, protocol: str = 'knn',
                    train_split: str = 'train', val_split: str = 'val', size: int = 224,
                    resize: int | None = None, max_images: int | None = None,
                    ks: Sequence[int] = (10, 20, 100, 200), temperature: float = 0.07,
                    penalties: Sequence[float] = PENALTIES, workers: int = 2,
                    baseline: str | None = None, out: str | None = None,
                    progress: bool = True) -> dict:
    """Classify images by features of a frozen backbone, averaged over the image.

    Args:
        choice: The backbone.
        data: Folder with ``TRAIN_SPLIT/CLASS/*.jpg`` and ``VAL_SPLIT/CLASS/*.jpg``, as
            ImageNet; files may lie in folders below.
        protocol: ``knn``, see
            :func:`~mmcontrast.evaluation.image_probes.knn_accuracies`, or ``linear``,
            see :func:`~mmcontrast.evaluation.image_probes.linear_accuracy`.
        size: Side of the middle crop in pixels.
        resize: Short side before the crop; ``size * 256 / 224`` if None.
        max_images: Maximum number of images of each split, evenly spread.
        ks, temperature: Of kNN.
        penalties: Of the linear probe.
        workers: Processes that read images.
        baseline: ``random`` adds random weights of the same network.
        out: JSON file for the result.

    Returns:
        See :func:`~.results.evaluate`.

    Raises:
        FileNotFoundError: If a folder or file is missing.
        ValueError: If the splits have other classes, or a setting does not fit.
    """
    if protocol not in ('knn', 'linear'):
        raise ValueError(f"protocol must be 'knn' or 'linear', got {protocol!r}.")
    resize = resize or round(size / _CROPPED)
    if resize < size:
        raise ValueError(f'resize ({resize}) must be {size} or more, the side of the '
                         'crop.')
    splits, classes = _splits(data, train_split, val_split, max_images)

    def measure(backbone: FrozenBackbone) -> dict:
        parts, bad = [], 0
        for name, items in splits.items():
            found, unread = pooled_features(
                backbone, items, resize, size, workers, name, progress)
            parts.append(found)
            bad += unread
        extra = dict(channels=parts[0].features.shape[1], unreadable_images=bad, notes=[
            result_note(classes, set(range(len(classes))) - {
                item['label'] for item in items}, f'image of {name}')
            for name, items in splits.items()])
        with working(protocol, progress):
            if protocol == 'knn':
                found = knn_accuracies(*parts, len(classes), ks, temperature)
                return dict(scores={f'k={k}': v for k, v in found.items()}, **extra)
            found = linear_accuracy(*parts, len(classes), penalties, choice.seed)
        held_out = {f'{k:g}': v for k, v in found['held_out'].items()}
        scores = {k: found[k] for k in ('top1', 'top5') if k in found}
        return dict(scores=scores, penalty=found['penalty'], held_out=held_out, **extra)

    settings = dict(
        data=str(data), splits={name: len(items) for name, items in splits.items()},
        classes=classes, size=size, resize=resize)
    settings |= (dict(temperature=temperature) if protocol == 'knn'
                 else dict(penalties=list(penalties)))
    return evaluate(protocol, choice, settings, measure, baseline, out)


def pooled_features(backbone: FrozenBackbone, items: Sequence[dict], resize: int,
                    size: int, workers: int = 0, title: str = 'images',
                    progress: bool = True) -> tuple[LabeledFeatures, int]:
    """Maps averaged over the cells, for images with labels.

    Args:
        items: ``img_path`` and ``label`` each.

    Returns:
        Features on the device of the network, and how many files were no images.
    """
    crops = CenterCroppedImages([item['img_path'] for item in items], resize, size)
    loader = DataLoader(
        crops, backbone.batch_size, num_workers=workers, collate_fn=list,
        worker_init_fn=seed_worker if workers else None)
    labels = torch.tensor([item['label'] for item in items])
    readable, features = [], []
    with run_bars(progress) as bar:
        for batch in bar.track(loader, description=title):
            readable += [image is not None for image in batch]
            images = [image for image in batch if image is not None]
            if images:
                features.append(backbone(torch.stack(images)).mean((2, 3)))
    if not features:
        raise ValueError(f'none of the {len(items)} files of {title} is an image, '
                         f'first {items[0]["img_path"]}.')
    features = torch.cat(features)
    labels = labels[torch.tensor(readable)].to(features.device)
    return LabeledFeatures(features, labels), readable.count(False)


def _splits(data: str, train_split: str, val_split: str, max_images: int | None
            ) -> tuple[dict[str, list[dict]], list[str]]:
    """Items of both splits, and the names of the classes."""
    lists = {name: list_folder(str(Path(data, name)), with_label=True)
             for name in (train_split, val_split)}
    classes = lists[train_split][1]
    unknown = sorted(set(lists[val_split][1]) - set(classes))
    if unknown:
        raise ValueError(
            f'{data}: {val_split} has the classes {unknown[:5]} that {train_split} '
            f'lacks; {train_split} has {len(classes)} classes.')
    splits = {}
    for name, (items, own) in lists.items():
        # A small split may lack a class; its labels are still those of training.
        items = [item | dict(label=classes.index(own[item['label']]))
                 for item in (items[i] for i in evenly_spaced(len(items), max_images))]
        splits[name] = items
    return splits, classes
