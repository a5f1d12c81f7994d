"""k-means on the directions of features, on any device, by blocks."""
import torch
import torch.nn.functional as F
from torch import Tensor

from .probes import CHUNK


@torch.no_grad()
def kmeans(features: Tensor, count: int, restarts: int = 5, steps: int = 50,
           seed: int = 0) -> Tensor:
    """Centres of the best of several k-means, by cosine.

    Spherical k-means: features and centres are unit vectors, a feature belongs to the
    centre of the greatest cosine, a centre is the direction of the mean of its
    features. First centres are drawn as k-means++ does. A centre that loses all its
    features moves to the feature that fits its own centre worst.

    Args:
        features: (A, C) of any length.
        count: Number of centres.
        restarts: Starts; the result with the greatest mean cosine is kept.
        steps: Most rounds of each start; it ends when no feature changes its centre.

    Returns:
        (count, C) unit vectors.

    Raises:
        ValueError: If there are fewer features than centres.
    """
    if len(features) < count or count < 1 or restarts < 1:
        raise ValueError(
            f'{count} clusters and {restarts} restarts asked of {len(features)} '
            'features; both must be 1 or more, and features no fewer than clusters: '
            'give more or larger images.')
    features = F.normalize(features.float(), dim=1)
    best, found = -torch.inf, None
    for restart in range(restarts):
        generator = torch.Generator().manual_seed(seed + restart)
        centres, fit = _one_start(features, count, steps, generator)
        if fit > best:
            best, found = fit, centres
    return found


def nearest_centre(features: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Greatest cosine and its centre for (A, C) unit features: (A,) and (A,)."""
    step = max(1, CHUNK // len(centres))
    parts = [(part @ centres.T).max(1) for part in features.split(step)]
    return (torch.cat([part.values for part in parts]),
            torch.cat([part.indices for part in parts]))


def _one_start(features: Tensor, count: int, steps: int, generator: torch.Generator
               ) -> tuple[Tensor, float]:
    """Centres and the mean cosine to them."""
    centres = _first_centres(features, count, generator)
    cosine, own = nearest_centre(features, centres)
    for _ in range(steps):
        before = own
        sums = torch.zeros_like(centres).index_add_(0, own, features)
        empty = own.bincount(minlength=count) == 0
        if empty.any():
            worst = cosine.topk(int(empty.sum()), largest=False).indices
            sums[empty] = features[worst]
        centres = F.normalize(sums, dim=1)
        cosine, own = nearest_centre(features, centres)
        if torch.equal(own, before):
            break
    return centres, cosine.mean().item()


def _first_centres(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre is drawn by its squared distance to those before."""
    first = torch.randint(len(features), (), generator=generator)
    chosen = [features[int(first)]]
    distance = torch.full((len(features),), torch.inf, device=features.device)
    for _ in range(count - 1):
        # Of unit vectors: 2 - 2 cos.
        distance = torch.minimum(distance, (2 - 2 * features @ chosen[-1]).clamp_min(0))
        total = distance.double().cumsum(0)
        # All features are centres already where nothing is left: any one will do.
        mark = torch.rand((), generator=generator, dtype=torch.float64) * total[-1]
        place = torch.searchsorted(total, mark.to(total.device), right=True)
        chosen.append(features[int(place.clamp_max(len(features) - 1))])
    return torch.stack(chosen)
