"""Cluster the features that slots were learned with, for comparison."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ...evaluation.kmeans import kmeans
from .score_maps import branch_of, exchanged_prototypes, slot_scores


def cluster_prototypes(model: nn.Module, images: Iterable[Tensor], count: int,
                       branch: str = 'momentum', seed: int = 0,
                       max_cells: int = 20_000) -> Tensor:
    """Centers of spherical k-means on the features, to use as prototypes.

    Args:
        model: With slots, see :func:`~.score_maps.slot_scores`.
        images: (3, H, W) gray levels each.
        count: Number of centers.
        seed: Picks cells and first centers.
        max_cells: Most cells to cluster; of more, a random subset.

    Returns:
        (count, C) unit vectors.

    Raises:
        ValueError: If the images have fewer cells than ``count``.
    """
    channels = branch_of(model, branch).grouping.prototypes.shape[1]
    # Cosines with the unit vectors of the axes are the normalized features.
    with exchanged_prototypes(model, torch.eye(channels), branch):
        maps = [slot_scores(model, image[None], branch)[0] for image in images]
    cells = torch.cat([features.flatten(1).T for features in maps]).cpu()
    if len(cells) > max_cells:
        generator = torch.Generator().manual_seed(seed)
        cells = cells[torch.randperm(len(cells), generator=generator)[:max_cells]]
    return kmeans(cells, count, restarts=1, steps=30, seed=seed)
