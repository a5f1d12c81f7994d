"""Score maps of a network with slots that is only being looked at."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import eval_mode, normalisation_of

# Elements of the largest intermediate tensor: 64 MB of float32.
_CHUNK = 1 << 24


@torch.no_grad()
def slot_scores(model: nn.Module, images: Tensor, branch: str = 'momentum') -> Tensor:
    """Similarity of every cell with every slot, of a model in eval mode.

    Args:
        model: Has ``slot_scores(images, branch)`` for normalised images, as SlotCon.
            It is left as it was.
        images: (N, 3, H, W) RGB, in grey levels from 0 to 255, on any device.
        branch: ``momentum`` (the teacher) or ``online``.

    Returns:
        (N, K, h, w) float32 cosines.
    """
    device = next(model.parameters()).device
    mean, std = (torch.as_tensor(x, dtype=torch.float32, device=device).view(3, 1, 1)
                 for x in normalisation_of(model))
    with eval_mode(model):
        return model.slot_scores((images.to(device).float() - mean) / std,
                                 branch).float()


@contextmanager
def exchanged_prototypes(model: nn.Module, prototypes: Tensor, branch: str = 'momentum'
                         ) -> Iterator[None]:
    """Other prototypes for a while, on the same features.

    Args:
        prototypes: (any number, C).
    """
    grouping = branch_of(model, branch).grouping
    kept = grouping.prototypes
    grouping.prototypes = nn.Parameter(prototypes.to(kept), requires_grad=False)
    try:
        yield
    finally:
        grouping.prototypes = kept


def branch_of(model: nn.Module, branch: str) -> nn.Module:
    """The part of a model that holds the modules of a branch.

    Raises:
        ValueError: For another name than ``momentum`` or ``online``.
    """
    if branch not in ('momentum', 'online'):
        raise ValueError(f"branch must be 'momentum' or 'online', got {branch!r}.")
    return model.momentum if branch == 'momentum' else model


@torch.no_grad()
def assign_slots(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The slot that wins each pixel.

    Scores are brought to the resolution of the pixels first and compared there, which
    gives smoother borders than a map of winners that is enlarged.

    Args:
        scores: (N, K, h, w), higher is more alike.
        size: (H, W) of the result.

    Returns:
        (N, H, W) int64 in [0, K).
    """
    planes = max(1, _CHUNK // (size[0] * size[1]))
    images = max(1, planes // scores.shape[1])
    return torch.cat([_winners(part, size, planes) for part in scores.split(images)])


def _winners(scores: Tensor, size: tuple[int, int], planes: int) -> Tensor:
    best = winner = None
    for start in range(0, scores.shape[1], planes):
        part = scores[:, start:start + planes]
        value, index = F.interpolate(part, size, mode='bilinear').max(1)
        index += start
        if best is not None:
            earlier = best >= value
            value = torch.where(earlier, best, value)
            index = torch.where(earlier, winner, index)
        best, winner = value, index
    return winner
