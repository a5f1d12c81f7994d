"""Score unlabeled segments (clusters, slots) against objects and classes.

Clusters have no names. :func:`foreground_ari` measures whether pixels share a cluster
exactly where they share an object; :func:`matched_scores` assigns each class the
cluster that matches it best and scores the result as a segmentation.
"""
import torch
from torch import Tensor


@torch.no_grad()
def foreground_ari(clusters: Tensor, instances: Tensor, background: int = 0) -> Tensor:
    """Adjusted Rand index between clusters and objects, over the pixels of objects.

    1: pixels share a cluster exactly where they share an object; 0: as often as by
    chance. The background is ignored, so it may be split up in any way. An image with a
    single object scores 1 if one cluster covers it and 0 otherwise.

    Source: Hubert and Arabie, "Comparing partitions" (Journal of Classification 1985);
    restricted to the foreground as in "Multi-Object Representation Learning with
    Iterative Variational Inference" (ICML 2019).

    Args:
        clusters: (N, H, W) integers, 0 or more.
        instances: (N, H, W) integers, 0 or more.
        background: Id of pixels that belong to no object.

    Returns:
        (N,) float64; nan for an image without two pixels of foreground.
    """
    _check_maps(clusters, instances, 'instances')
    count = len(clusters)
    keep = instances != background
    image = torch.arange(count, device=keep.device).view(-1, 1, 1).expand_as(keep)
    image, cluster, thing = image[keep], clusters[keep].long(), instances[keep].long()
    if len(image) == 0:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    num_clusters, num_things = int(cluster.max()) + 1, int(thing.max()) + 1
    row = image * num_clusters + cluster
    cells = row * num_things + thing
    columns = image * num_things + thing
    both, by_cluster, by_thing = (
        _pairs_by_image(keys, keys_per_image, count) for keys, keys_per_image in (
            (cells, num_clusters * num_things), (row, num_clusters),
            (columns, num_things)))
    total = _pairs(image.bincount(minlength=count))
    expected = by_cluster * by_thing / total
    scale = (by_cluster + by_thing) / 2 - expected
    # 0: one cluster on both sides, or one for each pixel on both.
    ari = torch.where(scale == 0, 1.0, (both - expected) / scale)
    return ari.masked_fill(total == 0, torch.nan).cpu()


def _pairs_by_image(keys: Tensor, keys_per_image: int, count: int) -> Tensor:
    """(count,) pairs of pixels in each image that share their key."""
    keys, counts = keys.unique(return_counts=True)
    pairs = torch.zeros(count, dtype=torch.float64, device=keys.device)
    return pairs.index_add_(0, keys // keys_per_image, _pairs(counts))


def _pairs(counts: Tensor) -> Tensor:
    counts = counts.double()
    return counts * (counts - 1) / 2


class ClusterCounts:
    """Pixels by class and cluster, summed over a set of images.

    Args:
        num_classes, num_clusters: C and K.
        ignore_index: Label of pixels that are ignored.

    Attributes:
        counts: (C, K) int64.
    """

    def __init__(self, num_classes: int, num_clusters: int, ignore_index: int = 255
                 ) -> None:
        self.counts = torch.zeros(num_classes, num_clusters, dtype=torch.int64)
        self.ignore_index = ignore_index

    @torch.no_grad()
    def add(self, clusters: Tensor, labels: Tensor) -> None:
        """Count (N, H, W) clusters against labels of the same shape.

        Raises:
            ValueError: If a label is outside of [0, C), or a cluster outside of [0, K).
        """
        _check_maps(clusters, labels, 'labels')
        num_classes, num_clusters = self.counts.shape
        keep = labels != self.ignore_index
        label, cluster = labels[keep].long(), clusters[keep].long()
        for name, found, end in (('labels', label, num_classes),
                                 ('clusters', cluster, num_clusters)):
            if len(found) and not 0 <= int(found.min()) <= int(found.max()) < end:
                raise ValueError(
                    f'{name} must lie in [0, {end}), found {int(found.min())} to '
                    f'{int(found.max())}; give the class list of this data, or set '
                    f'ignore_index (now {self.ignore_index}).')
        cells = (label * num_clusters + cluster).bincount(minlength=self.counts.numel())
        self.counts += cells.view_as(self.counts).to(self.counts.device)


def matched_scores(counts: Tensor) -> dict:
    """Scores of a one-to-one matching of clusters to classes.

    Hungarian matching over the whole set, for the most pixels in common, as in
    unsupervised segmentation (PiCIE, CVPR 2021). With more clusters than classes some
    stay unmatched, and their pixels count as wrong; with fewer, some classes score 0.

    Args:
        counts: (C, K) pixels by class and cluster.

    Returns:
        ``miou`` over the classes that occur, ``accuracy`` (share of labeled pixels),
        ``per_class_iou`` (nan for a class that does not occur), ``unlabeled_classes``
        (those) and ``cluster_of_class`` (-1 without one).

    Raises:
        ValueError: If nothing was counted.
        ImportError: Without scipy.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError('Matching clusters to classes needs scipy: pip install scipy '
                          "(mmcontrast's extras det and seg bring it).") from error
    classes, clusters = map(torch.from_numpy, linear_sum_assignment(
        counts.cpu().numpy(), maximize=True))
    cluster_of_class = torch.full((len(counts),), -1)
    cluster_of_class[classes] = clusters
    hits, predicted = torch.zeros(2, len(counts), dtype=torch.float64)
    hits[classes] = counts[classes, clusters].double()
    predicted[classes] = counts.sum(0)[clusters].double()
    return _scores(hits, predicted, counts) | dict(
        cluster_of_class=cluster_of_class.tolist())


def majority_scores(counts: Tensor) -> dict:
    """Scores if every cluster takes the class of most of its pixels.

    Many clusters may share a class, so the score grows with the number of clusters,
    even for random ones: compare at equal K only.

    Returns:
        As :func:`matched_scores`, with ``class_of_cluster`` (-1 for an empty cluster).
    """
    class_of_cluster = counts.argmax(0)
    merged = torch.zeros(len(counts), len(counts), dtype=torch.float64)
    merged.index_add_(1, class_of_cluster, counts.double())
    class_of_cluster[counts.sum(0) == 0] = -1
    return _scores(merged.diag(), merged.sum(0), counts) | dict(
        class_of_cluster=class_of_cluster.tolist())


def _scores(hits: Tensor, predicted: Tensor, counts: Tensor) -> dict:
    total = counts.sum().item()
    if total == 0:
        raise ValueError(
            'no labeled pixel was counted: all are ignored, or the set is empty.')
    labeled = counts.sum(1).double()
    # A class that is predicted but never labeled results from the matching.
    iou = torch.where(labeled > 0, hits / (labeled + predicted - hits), torch.nan)
    return dict(miou=iou.nanmean().item(), accuracy=hits.sum().item() / total,
                per_class_iou=iou.tolist(),
                unlabeled_classes=(labeled == 0).nonzero().flatten().tolist())


def _check_maps(clusters: Tensor, truth: Tensor, name: str) -> None:
    if clusters.ndim != 3 or clusters.shape != truth.shape:
        raise ValueError(
            f'clusters and {name} must both be (N, H, W), got {tuple(clusters.shape)} '
            f'and {tuple(truth.shape)}; upsampled_argmax(scores, size) gives clusters '
            'at any size.')
