"""Score maps of a network with slots that is only being looked at."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...evaluation.features import normalization_of
from ...models.inspection import eval_mode


@torch.no_grad()
def slot_scores(model: nn.Module, images: Tensor, branch: str = 'momentum') -> Tensor:
    """Similarity of every cell with every slot, of a model in eval mode.

    Args:
        model: Has ``slot_scores(images, branch)`` for normalized images, as SlotCon.
            It is left as it was.
        images: (N, 3, H, W) RGB, in gray levels from 0 to 255, on any device.
        branch: ``momentum`` (the teacher) or ``online``.

    Returns:
        (N, K, h, w) float32 cosines.
    """
    device = next(model.parameters()).device
    mean, std = (torch.as_tensor(x, dtype=torch.float32, device=device).view(3, 1, 1)
                 for x in normalization_of(model))
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
