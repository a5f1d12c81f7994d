"""Cluster features by spherical k-means, on any device, in bounded memory."""
import torch
import torch.nn.functional as F
from torch import Tensor

from .probes import CHUNK


@torch.no_grad()
def kmeans(features: Tensor, count: int, restarts: int = 5, steps: int = 50,
           seed: int = 0) -> Tensor:
    """Centers of the best of several runs of k-means, by cosine.

    Spherical k-means: features and centers are unit vectors, a feature belongs to the
    center of the greatest cosine, a center is the direction of the mean of its
    features. First centers are drawn as k-means++ does. A center without
    features moves to the feature with the smallest cosine to its own center.

    Args:
        features: (A, C) of any length.
        count: Number of centers.
        restarts: Runs; the one with the greatest mean cosine is kept.
        steps: Maximum number of iterations of a run; it ends when no feature changes
            its center.

    Returns:
        (count, C) unit vectors.

    Raises:
        ValueError: If there are fewer features than centers.
    """
    if len(features) < count or count < 1 or restarts < 1:
        raise ValueError(
            f'{len(features)} features are too few for {count} clusters with '
            f'{restarts} restarts: give more or larger images; clusters and restarts '
            'must be 1 or more.')
    features = F.normalize(features.float(), dim=1)
    best, found = -torch.inf, None
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(seed + restart)
        centers, fit = _one_start(features, count, steps, generator)
        if fit > best:
            best, found = fit, centers
    return found


def nearest_center(features: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest cosine and its center for (A, C) unit features: (A,) and (A,)."""
    step = max(1, CHUNK // len(centers))
    parts = [(part @ centers.T).max(1) for part in features.split(step)]
    return (torch.cat([part.values for part in parts]),
            torch.cat([part.indices for part in parts]))


def _one_start(features: Tensor, count: int, steps: int, generator: torch.Generator
               ) -> tuple[Tensor, float]:
    """Centers and the mean cosine to them."""
    centers = _first_centers(features, count, generator)
    cosine, own = nearest_center(features, centers)
    for _ in range(steps):
        before = own
        sums = torch.zeros_like(centers).index_add_(0, own, features)
        empty = own.bincount(minlength=count) == 0
        if empty.any():
            worst = cosine.topk(int(empty.sum()), largest=False).indices
            sums[empty] = features[worst]
        centers = F.normalize(sums, dim=1)
        cosine, own = nearest_center(features, centers)
        if torch.equal(own, before):
            break
    return centers, cosine.mean().item()


def _first_centers(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next center is drawn by its squared distance to those before."""
    first = torch.randint(len(features), (), generator=generator)
    chosen = [features[int(first)]]
    distance = torch.full((len(features),), torch.inf, device=features.device)
    for _ in range(count - 1):
        # Of unit vectors: 2 - 2 cos.
        distance = torch.minimum(distance, (2 - 2 * features @ chosen[-1]).clamp_min(0))
        total = distance.double().cumsum(0)
        # Where nothing is left, all features are centers already: take any.
        mark = torch.rand((), generator=generator, dtype=torch.float64) * total[-1]
        place = torch.searchsorted(total, mark.to(total.device), right=True)
        chosen.append(features[int(place.clamp_max(len(features) - 1))])
    return torch.stack(chosen)
