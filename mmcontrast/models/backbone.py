"""What a backbone gives, found out by asking it."""
import torch
from torch import Tensor, nn


@torch.no_grad()
def feature_channels(backbone: nn.Module, size: int = 224) -> list[int]:
    """Channels of each map that ``backbone`` returns, from a zero image.

    Leaves the mode and the running statistics of the backbone as they were.

    Raises:
        TypeError: If the backbone does not return feature maps.
    """
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    parameter = next(backbone.parameters())
    maps = backbone(parameter.new_zeros(1, 3, size, size))
    for module, training in modes.items():
        module.training = training
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    if not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps):
        found = [tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__
                 for m in maps]
        raise TypeError(
            f'{type(backbone).__name__} must return feature maps (N, C, H, W), got '
            f"{found}; for a transformer set out_type='featmap' or out_indices.")
    return [m.shape[1] for m in maps]
