"""Run a network without changing it, and read what it returns."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode within the context; afterwards every submodule has its mode back."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@torch.no_grad()
def feature_channels(backbone: nn.Module, size: int = 224) -> list[int]:
    """Channels of each map that ``backbone`` returns, from a zero image.

    Keeps the mode and the running statistics of the backbone.

    Raises:
        TypeError: If the backbone does not return feature maps.
    """
    parameter = next(backbone.parameters())
    with eval_mode(backbone):
        maps = backbone(parameter.new_zeros(1, 3, size, size))
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    if not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps):
        found = [tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__
                 for m in maps]
        raise TypeError(
            f'{type(backbone).__name__} must return feature maps (N, C, H, W), got '
            f"{found}; for a transformer set out_type='featmap' or out_indices.")
    return [m.shape[1] for m in maps]
