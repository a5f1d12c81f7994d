"""Segment images with a probe on frozen features, and score it."""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .probes import CHUNK, KNNScores, LinearScores


def dense_probe(train_features: Tensor, train_labels: Tensor, val_features: Tensor,
                val_labels: Tensor, num_classes: int, kind: str = 'knn',
                ignore_index: int = 255, max_cells: int = 10_000, k: int = 20,
                temperature: float = 0.07, penalty: float = 1e-3) -> dict:
    """Fit a probe to training images and score its segmentation of held-out ones.

    The probe is fitted to cells of the feature grid, each with the most frequent label
    of its pixels. Scores of a held-out image are upsampled bilinearly and evaluated at
    the resolution of its labels. Deterministic: no global random generator is used.

    Args:
        train_features, val_features: (N, C, h, w) and (M, C, h', w').
        train_labels, val_labels: (N, H, W) and (M, H', W') integers, on any grid.
        num_classes: K; labels lie in [0, K), or are ``ignore_index``.
        kind: ``knn``, votes of the most similar training cells, or ``linear``,
            multinomial logistic regression on standardized features.
        max_cells: Maximum number of training cells; of more, a random subset.
        k, temperature: Neighbors, and the scale of ``exp(cosine / temperature)``, the
            weight of a vote.
        penalty: Weight of the squared norm of the linear weights.

    Returns:
        ``miou``, ``accuracy`` (share of labeled pixels) and ``per_class_iou``, all in
        [0, 1]. As in mmseg, a class that is neither labeled nor predicted has no IoU
        (nan in ``per_class_iou``) and is left out of the mean.
        ``unlabeled_classes`` have no pixel in the held-out images,
        ``untrained_classes`` no training cell.

    Raises:
        ValueError: If shapes or labels do not fit, no pixel is labeled, or features
            are not finite.
    """
    _check(train_features, train_labels, num_classes, ignore_index, 'train')
    _check(val_features, val_labels, num_classes, ignore_index, 'val')
    if train_features.shape[1] != val_features.shape[1]:
        raise ValueError(
            f'train features have {train_features.shape[1]} channels, val features '
            f'{val_features.shape[1]}; take both from one layer.')
    if kind not in ('knn', 'linear'):
        raise ValueError(f"kind must be 'knn' or 'linear', got {kind!r}.")
    cells, targets = labeled_cells(
        train_features.detach().float(), train_labels, num_classes, ignore_index,
        max_cells)
    if kind == 'knn':
        score = KNNScores(cells, targets, num_classes, k, temperature)
    else:
        score = LinearScores(cells, targets, num_classes, penalty)
    confusion = confusion_counts(
        score, val_features, val_labels, num_classes, ignore_index)
    return scores_of(confusion) | dict(
        untrained_classes=without_labels(targets.bincount(minlength=num_classes)))


def labeled_cells(features: Tensor, labels: Tensor, num_classes: int,
                  ignore_index: int, max_cells: int) -> tuple[Tensor, Tensor]:
    """Cells of the feature grid and the most frequent label of each.

    Returns:
        (A, C) features and (A,) labels; cells most of whose pixels are ignored are
        left out, and of more than ``max_cells`` a fixed random subset is taken.
    """
    targets = cell_labels(
        labels.to(features.device), features.shape[-2:], num_classes, ignore_index)
    chosen = (targets != ignore_index).flatten().nonzero()[:, 0]
    if len(chosen) == 0:
        raise ValueError(
            f'no cell of the {tuple(features.shape[-2:])} feature grid has a label for '
            'most of its pixels; give images with larger labeled parts, or a larger '
            'size.')
    if len(chosen) > max_cells:
        order = torch.randperm(
            len(chosen), generator=torch.Generator().manual_seed(0))[:max_cells]
        chosen = chosen[order.sort().values.to(chosen.device)]
    flat = features.permute(0, 2, 3, 1).flatten(0, 2)
    return flat[chosen], targets.flatten()[chosen]


def cell_labels(labels: Tensor, grid: tuple[int, int], num_classes: int,
                ignore_index: int = 255) -> Tensor:
    """(N, H, W) labels as (N, rows, cols) most frequent labels of grid cells."""
    labels = torch.where(labels == ignore_index, num_classes, labels.long())
    step = max(1, CHUNK // ((num_classes + 1) * labels[0].numel()))
    found = []
    for part in labels.split(step):
        one_hot = F.one_hot(part, num_classes + 1).permute(0, 3, 1, 2).float()
        found.append(F.adaptive_avg_pool2d(one_hot, tuple(grid)).argmax(1))
    majority = torch.cat(found)
    return torch.where(majority == num_classes, ignore_index, majority)


def scores_of(confusion: Tensor) -> dict:
    """``miou``, ``accuracy``, ``per_class_iou`` and ``unlabeled_classes`` of counts.

    Args:
        confusion: (K, K), rows are labels, columns predictions.
    """
    confusion = confusion.double()
    hits = confusion.diag()
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)   # 0 / 0 gives nan
    return dict(miou=iou.nanmean().item(),
                accuracy=(hits.sum() / confusion.sum()).item(),
                per_class_iou=iou.tolist(),
                unlabeled_classes=without_labels(confusion.sum(1)))


def without_labels(counts: Tensor) -> list[int]:
    """Indices of the classes of which a (K,) count is 0."""
    return (counts == 0).nonzero().flatten().tolist()


@torch.no_grad()
def confusion_counts(score: Callable[[Tensor], Tensor], features: Tensor,
                     labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Pixels by label and prediction, at the resolution of the labels.

    Args:
        score: (A, C) features of cells to (A, K) scores.
        features: (N, C, h, w).
        labels: (N, H, W), on any grid.

    Returns:
        (K, K) int64, rows are labels.
    """
    counts = torch.zeros(num_classes ** 2, dtype=torch.int64, device=features.device)
    step = max(1, CHUNK // (num_classes * labels[0].numel()))
    for maps, truth in zip(features.split(step), labels.split(step), strict=True):
        n, _, rows, cols = maps.shape
        cells = maps.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
        scores = score(cells).view(n, rows, cols, num_classes).permute(0, 3, 1, 2)
        scores = F.interpolate(scores, truth.shape[-2:], mode='bilinear')
        truth = truth.to(scores.device).long()
        valid = truth != ignore_index
        pairs = truth[valid] * num_classes + scores.argmax(1)[valid]
        counts += pairs.bincount(minlength=num_classes ** 2)
    return counts.view(num_classes, num_classes)


def _check(features: Tensor, labels: Tensor, num_classes: int, ignore_index: int,
           name: str) -> None:
    if features.ndim != 4 or labels.ndim != 3 or len(features) != len(labels):
        raise ValueError(
            f'{name}: features must be (N, C, h, w) and labels (N, H, W), got '
            f'{tuple(features.shape)} and {tuple(labels.shape)}.')
    found = labels.unique()
    found = found[found != ignore_index]
    if len(found) == 0:
        raise ValueError(
            f'{name}: all pixels are labeled {ignore_index} (ignored); a probe needs '
            'labeled pixels.')
    bad = found[(found < 0) | (found >= num_classes)].tolist()
    if bad:
        raise ValueError(
            f'{name}: labels {bad[:5]} lie outside of [0, {num_classes}); give the '
            f'class list of this data, or set ignore_index (now {ignore_index}).')
    if not features.isfinite().all():
        raise ValueError(
            f'{name}: some features are infinite or nan; the network has diverged.')
