"""What plain clustering makes of the features that slots were learned with."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .score_maps import branch_of, exchanged_prototypes, slot_scores


def cluster_prototypes(model: nn.Module, images: Iterable[Tensor], count: int,
                       branch: str = 'momentum', seed: int = 0,
                       max_cells: int = 20_000) -> Tensor:
    """Centers of k-means on the directions of the features, to use as prototypes.

    Args:
        model: With slots, see :func:`~.score_maps.slot_scores`.
        images: (3, H, W) gray levels each.
        count: Number of centers.
        seed: Picks cells and first centers.
        max_cells: Most cells to cluster; more are thinned by chance.

    Returns:
        (count, C).

    Raises:
        ImportError: Without scipy.
        ValueError: If the images have fewer cells than ``count``.
    """
    try:
        from scipy.cluster.vq import kmeans2
    except ImportError as error:
        raise ImportError('k-means needs scipy: pip install scipy (the extras '
                          'det and seg of mmcontrast bring it).') from error
    channels = branch_of(model, branch).grouping.prototypes.shape[1]
    # Cosines with the unit vectors of the axes are the normalized features.
    with exchanged_prototypes(model, torch.eye(channels), branch):
        maps = [slot_scores(model, image[None], branch)[0] for image in images]
    cells = torch.cat([features.flatten(1).T for features in maps]).cpu()
    if len(cells) < count:
        raise ValueError(f'{len(cells)} cells of the feature maps are too few for '
                         f'{count} clusters; give more or larger images.')
    if len(cells) > max_cells:
        generator = torch.Generator().manual_seed(seed)
        cells = cells[torch.randperm(len(cells), generator=generator)[:max_cells]]
    centers, _ = kmeans2(cells.numpy(), count, iter=30, minit='++', seed=seed)
    return torch.from_numpy(centers)
