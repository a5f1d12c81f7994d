"""Classify images by frozen features: k nearest neighbors and a linear classifier."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .probes import CHUNK, best_linear_scores, nearest_neighbors, vote

#: Default penalties of :func:`linear_accuracy`.
PENALTIES = tuple(10.0 ** power for power in range(-7, 0))
# One in so many images of a class is held out to choose the penalty.
_HELD_OUT = 5


@dataclass(frozen=True)
class LabeledFeatures:
    """Features of images and the labels of the images.

    Attributes:
        features: (N, C) float32.
        labels: (N,) int64.
    """

    features: Tensor
    labels: Tensor


@torch.no_grad()
def knn_accuracies(train: LabeledFeatures, val: LabeledFeatures, num_classes: int,
                   ks: Sequence[int] = (10, 20, 100, 200), temperature: float = 0.07
                   ) -> dict[int, float]:
    """Accuracy of k-nearest-neighbor classification.

    The protocol of "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination" (CVPR 2018), as DINO (ICCV 2021) reports it: the k nearest training
    images by cosine vote with the weight ``exp(cosine / temperature)``.

    Returns:
        Accuracy in [0, 1] for each k; a k beyond the size of the training set is
        reduced to it.

    Raises:
        ValueError: If features and labels do not match.
    """
    _check(train, val, num_classes)
    if not ks or min(ks) < 1:
        raise ValueError(f'k must be 1 or more, got {list(ks)}.')
    ks = sorted({min(k, len(train.labels)) for k in ks})
    bank = F.normalize(train.features, dim=1)
    hits = dict.fromkeys(ks, 0)
    step = max(1, CHUNK // max(num_classes, ks[-1]))
    for features, labels in zip(
            val.features.split(step), val.labels.split(step), strict=True):
        cosines, places = nearest_neighbors(
            F.normalize(features, dim=1), bank, ks[-1])
        neighbors = train.labels[places]
        for k in ks:
            votes = vote(cosines[:, :k], neighbors[:, :k], num_classes, temperature)
            hits[k] = hits[k] + (votes.argmax(1) == labels).sum()
    return {k: int(count) / len(val.labels) for k, count in hits.items()}


def linear_accuracy(train: LabeledFeatures, val: LabeledFeatures, num_classes: int,
                    penalties: Sequence[float] = PENALTIES, seed: int = 0) -> dict:
    """Accuracy of a linear classifier whose penalty is chosen on training images.

    A fifth of the training images of each class, drawn with ``seed``, is held out to
    choose the penalty; the classifier is then fitted to all of them, by L-BFGS.

    Returns:
        ``top1`` and ``top5`` in [0, 1] (``top5`` with more than 5 classes), ``penalty``
        and ``held_out``: accuracy by penalty on the held-out fifth.

    Raises:
        ValueError: If features and labels do not match.
    """
    _check(train, val, num_classes)
    held_out = stratified(train.labels, num_classes, seed)
    scores, tried = best_linear_scores(
        train.features, train.labels, num_classes, held_out, penalties)
    best = max(tried, key=tried.get) if tried else max(penalties)
    tops = torch.cat([scores(part).topk(min(5, num_classes), 1).indices
                      for part in val.features.split(max(1, CHUNK // num_classes))])
    hits = (tops == val.labels[:, None]).cumsum(1).float().mean(0)
    found = dict(top1=hits[0].item(), penalty=best, held_out=tried)
    return found | (dict(top5=hits[4].item()) if num_classes > 5 else {})


def stratified(labels: Tensor, num_classes: int, seed: int = 0) -> Tensor:
    """(N,) bool: a fifth of each class, drawn with ``seed``."""
    shuffled = torch.randperm(
        len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount(minlength=num_classes)
    first = (counts.cumsum(0) - counts)[labels[by_class]]
    place = torch.arange(len(labels), device=labels.device) - first
    held_out = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    held_out[by_class[place % _HELD_OUT == _HELD_OUT - 1]] = True
    return held_out


def _check(train: LabeledFeatures, val: LabeledFeatures, num_classes: int) -> None:
    for name, part in (('train', train), ('val', val)):
        if part.features.ndim != 2 or part.labels.shape != part.features.shape[:1]:
            raise ValueError(
                f'{name}: features must be (N, C) and labels (N,), got '
                f'{tuple(part.features.shape)} and {tuple(part.labels.shape)}.')
        if len(part.labels) == 0:
            raise ValueError(f'{name}: there is no image.')
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f'{name}: labels must lie in [0, {num_classes}), found '
                             f'{low} to {high}.')
        if not part.features.isfinite().all():
            raise ValueError(f'{name}: some features are infinite or nan; the network '
                             'has diverged.')
    if train.features.shape[1] != val.features.shape[1]:
        raise ValueError(
            f'train features have {train.features.shape[1]} channels, val features '
            f'{val.features.shape[1]}; take both from one layer.')
