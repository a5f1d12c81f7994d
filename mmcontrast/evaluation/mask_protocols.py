"""Evaluate dense features against masks: k-NN and linear probes, and clustering.

Images are processed batch by batch and their maps are not kept, only a sample of the
cells of the training images.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.segmented_images import UNLABELED
from ..models.upsampling import upsampled_argmax
from .cluster_scores import ClusterCounts, majority_scores, matched_scores
from .dense_probe import cell_labels, confusion_counts, scores_of
from .kmeans import kmeans
from .probes import KNNScores, best_linear_scores

#: Batches of maps (N, C, h, w) and labels (N, H, W), -1 for unlabeled pixels.
Batches = Iterable[tuple[Tensor, Tensor]]
_HELD_OUT = 5


@dataclass(frozen=True)
class Cells:
    """Cells of feature maps of many images.

    Attributes:
        features: (A, C).
        targets: (A,) most frequent label of each cell, -1 if most of its pixels are
            unlabeled.
        images: (A,) index of the image of each cell.
    """

    features: Tensor
    targets: Tensor
    images: Tensor


def sample_cells(batches: Batches, num_images: int, num_classes: int,
                 max_cells: int = 20_000, labeled_only: bool = True, seed: int = 0
                 ) -> Cells:
    """Sample cells of a set, equally many from each image.

    Args:
        num_images: Of the set; each contributes at most its share of ``max_cells``.
        labeled_only: Leave out cells with target -1.

    Raises:
        ValueError: If no cell is left, or features are not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    share = max(1, -(-max_cells // num_images))
    features, targets, images, number = [], [], [], 0
    for maps, labels in batches:
        if not maps.isfinite().all():
            raise ValueError(
                'some features are infinite or nan; the network has diverged.')
        found = cell_labels(
            labels.to(maps.device), maps.shape[-2:], num_classes, UNLABELED)
        for one, target in zip(maps, found.flatten(1), strict=True):
            usable = (target != UNLABELED) | (not labeled_only)
            places = usable.nonzero()[:, 0]
            order = torch.randperm(len(places), generator=generator)[:share]
            places = places[order.to(places.device)]
            features.append(one.flatten(1)[:, places].T)
            targets.append(target[places])
            images.append(torch.full_like(places, number))
            number += 1
    cells = Cells(*map(torch.cat, (features, targets, images)))
    if len(cells.targets) == 0:
        raise ValueError(
            'no cell of the feature maps has a label for most of its pixels; give '
            'images with larger labeled parts, or a larger size.')
    return cells


def fit_knn(cells: Cells, num_classes: int, k: int = 20, temperature: float = 0.07
            ) -> KNNScores:
    """A k-NN probe on training cells."""
    return KNNScores(cells.features, cells.targets, num_classes, k, temperature)


def fit_linear(cells: Cells, num_classes: int, penalties: Sequence[float]):
    """A linear probe; the cells of every fifth image are held out for its penalty.

    Returns:
        The probe, and the accuracy by penalty on the held-out cells.
    """
    # Numbered within the sample: some images have no labeled cell.
    number = cells.images.unique(return_inverse=True)[1]
    return best_linear_scores(cells.features, cells.targets, num_classes,
                              number % _HELD_OUT == _HELD_OUT - 1, penalties)


def score_probe(score: Callable[[Tensor], Tensor], batches: Batches, num_classes: int,
                resolution: str = 'input') -> dict:
    """Segment held-out images with a probe.

    Args:
        score: (A, C) features of cells to (A, K) scores.
        resolution: ``input``: scores are upsampled bilinearly and evaluated at every
            pixel of the masks; ``feature``: cells are evaluated against the most
            frequent label of their pixels.

    Returns:
        ``miou``, ``accuracy``, ``per_class_iou``, ``unlabeled_classes``, see
        :func:`~mmcontrast.evaluation.dense_probe.scores_of`.

    Raises:
        ValueError: If no pixel is labeled, or ``resolution`` is unknown.
    """
    if resolution not in ('input', 'feature'):
        raise ValueError(
            f"resolution must be 'input' or 'feature', got {resolution!r}.")
    confusion = 0
    for maps, labels in batches:
        if resolution == 'feature':
            labels = cell_labels(
                labels.to(maps.device), maps.shape[-2:], num_classes, UNLABELED)
        confusion = confusion + confusion_counts(
            score, maps, labels, num_classes, UNLABELED)
    if not isinstance(confusion, Tensor) or confusion.sum() == 0:
        raise ValueError('no pixel of the held-out images is labeled.')
    return scores_of(confusion)


def score_clusters(batches: Callable[[], Batches], num_images: int, num_classes: int,
                   clusters: int | None = None, restarts: int = 5,
                   max_cells: int = 20_000, seed: int = 0) -> dict:
    """Segment images by k-means clusters of their features.

    Unsupervised segmentation as in PiCIE (CVPR 2021) and STEGO (ICLR 2022): k-means
    over the features of the whole set, then one Hungarian matching of clusters to
    classes on the same set. A pixel belongs to the center of the greatest cosine;
    cosines are upsampled bilinearly to its mask.

    Args:
        batches: Starts a pass over the set; called twice.
        clusters: Number of clusters; as many as classes if None. With more, unmatched
            clusters count as wrong in ``miou``, and the ``majority`` scores give each
            cluster its most frequent class.
        max_cells: Maximum number of cells to fit the centers to, labeled or not.

    Returns:
        ``miou``, ``accuracy``, ``majority_miou``, ``majority_accuracy``,
        ``per_class_iou``, ``unlabeled_classes``, ``cluster_of_class``, ``in_use``
        (clusters with pixels).
    """
    count = clusters or num_classes
    cells = sample_cells(
        batches(), num_images, num_classes, max_cells, labeled_only=False, seed=seed)
    centers = kmeans(cells.features, count, restarts, seed=seed)
    counts = ClusterCounts(num_classes, count, UNLABELED)
    for maps, labels in batches():
        cosines = torch.einsum('nchw,kc->nkhw', F.normalize(maps, dim=1), centers)
        counts.add(
            upsampled_argmax(cosines, labels.shape[-2:]), labels.to(cosines.device))
    matched, majority = matched_scores(counts.counts), majority_scores(counts.counts)
    return dict(
        miou=matched['miou'], accuracy=matched['accuracy'],
        majority_miou=majority['miou'], majority_accuracy=majority['accuracy'],
        per_class_iou=matched['per_class_iou'],
        unlabeled_classes=matched['unlabeled_classes'],
        cluster_of_class=matched['cluster_of_class'],
        in_use=int((counts.counts.sum(0) > 0).sum()))


def in_batches(items: Iterable[tuple[Tensor, Tensor]], batch_size: int,
               maps_of: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Maps and labels in batches of consecutive items of one size.

    Args:
        items: Image (3, H, W) and labels (H', W') each.
        maps_of: Images (N, 3, H, W) to maps (N, C, h, w).
    """
    waiting: list[tuple[Tensor, Tensor]] = []
    for item in items:
        fits = not waiting or all(
            a.shape == b.shape for a, b in zip(item, waiting[0], strict=True))
        if waiting and (not fits or len(waiting) == batch_size):
            yield _batch(waiting, maps_of)
            waiting = []
        waiting.append(item)
    if waiting:
        yield _batch(waiting, maps_of)


def _batch(waiting: list[tuple[Tensor, Tensor]], maps_of: Callable[[Tensor], Tensor]
           ) -> tuple[Tensor, Tensor]:
    images, labels = (torch.stack(parts) for parts in zip(*waiting, strict=True))
    return maps_of(images), labels
