"""Feature maps of a backbone that is only being looked at."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as tvf

#: Per RGB channel, in gray levels, as most published backbones were trained with.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
# Network strides divide it.
_MULTIPLE = 32


@torch.no_grad()
def feature_maps(backbone: nn.Module, images: Tensor, out_index: int = -1,
                 mean: Sequence[float] | Tensor = IMAGENET_MEAN,
                 std: Sequence[float] | Tensor = IMAGENET_STD,
                 batch_size: int = 16) -> Tensor:
    """One map of a frozen backbone for many images.

    The backbone runs in eval mode and is left as it was: modes of all its modules,
    running statistics, gradients.

    Args:
        images: (N, 3, H, W) RGB, in gray levels from 0 to 255, on any device.
        out_index: Which of the maps that the backbone returns.
        mean, std: Per RGB channel, in gray levels.

    Returns:
        (N, C, h, w) float32 on the device of the backbone.

    Raises:
        ValueError: If there is no map ``out_index``.
        TypeError: If the backbone returns something else than maps.
    """
    parameter = next(backbone.parameters())
    mean, std = (torch.as_tensor(x, dtype=torch.float32, device=parameter.device
                                 ).view(3, 1, 1) for x in (mean, std))
    maps = []
    with eval_mode(backbone):
        for batch in images.split(batch_size):
            batch = (batch.to(parameter.device, torch.float32) - mean) / std
            maps.append(_pick(backbone(batch.to(parameter.dtype)), out_index).float())
    return torch.cat(maps)


def network_input(picture: Image.Image, size: int | None = None,
                  multiple: int = _MULTIPLE) -> Tensor:
    """(3, H, W) uint8 gray levels of a whole picture.

    Args:
        size: Short side in pixels; that of the picture if None. Both sides become
            multiples of ``multiple``, so that map and picture have the same corners.
    """
    scale = (size or min(picture.size)) / min(picture.size)
    width, height = (max(multiple, round(side * scale / multiple) * multiple)
                     for side in picture.size)
    return tvf.pil_to_tensor(
        picture.resize((width, height), Image.Resampling.BILINEAR))


def normalization_of(model: nn.Module) -> tuple:
    """Mean and std that a model itself trains with, in gray levels."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean = getattr(preprocessor, 'mean', None)
    std = getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return IMAGENET_MEAN, IMAGENET_STD
    return mean, std


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; then every module gets its own mode back."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _pick(maps: Tensor | Sequence[Tensor], out_index: int) -> Tensor:
    maps = [maps] if isinstance(maps, Tensor) else list(maps)
    if not -len(maps) <= out_index < len(maps):
        raise ValueError(
            f'out_index {out_index}: the backbone returns {len(maps)} map(s), numbered '
            'from 0 (or -1 for the last); its out_indices say which.')
    found = maps[out_index]
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found)
        raise TypeError(
            f'map {out_index} of the backbone must be (N, C, H, W), got {shape}; for a '
            "transformer set out_type='featmap'.")
    return found
