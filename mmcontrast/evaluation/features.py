"""Extract feature maps with a frozen backbone."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as tvf

from ..models.inspection import eval_mode

#: Per RGB channel, in gray levels, of most published backbones.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
# A multiple of all network strides.
_MULTIPLE = 32


@dataclass(frozen=True)
class FrozenBackbone:
    """A backbone with its normalization: images in, one feature map each out.

    Attributes:
        network: Returns one map or a sequence of maps (N, C, h, w) of its input.
        mean, std: Per channel, in gray levels, in the channel order of the network.
        out_index: Which of the maps.
        bgr: Whether the network takes BGR images.
        multiple: Sides of the images must be multiples of it.
        batch_size: Images per forward pass.
    """

    network: nn.Module
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    out_index: int = -1
    bgr: bool = False
    multiple: int = 32
    batch_size: int = 16

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB gray levels from 0 to 255 to (N, C, h, w) float32 maps, on
        the device of the network."""
        return feature_maps(
            self.network, images.flip(1) if self.bgr else images, self.out_index,
            self.mean, self.std, self.batch_size)


@torch.no_grad()
def feature_maps(backbone: nn.Module, images: Tensor, out_index: int = -1,
                 mean: Sequence[float] | Tensor = IMAGENET_MEAN,
                 std: Sequence[float] | Tensor = IMAGENET_STD,
                 batch_size: int = 16) -> Tensor:
    """One feature map of a frozen backbone for many images.

    The backbone runs in eval mode; the modes of its modules, running statistics and
    gradients do not change.

    Args:
        images: (N, 3, H, W) RGB, in gray levels from 0 to 255, on any device.
        out_index: Which of the maps that the backbone returns.
        mean, std: Per RGB channel, in gray levels.

    Returns:
        (N, C, h, w) float32 on the device of the backbone.

    Raises:
        ValueError: If there is no map ``out_index``.
        TypeError: If the backbone does not return maps.
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


def network_input(image: Image.Image, size: int | None = None,
                  multiple: int = _MULTIPLE) -> Tensor:
    """A whole image as (3, H, W) uint8 gray levels, resized for the network.

    Args:
        size: Short side in pixels; that of the image if None. Both sides become
            multiples of ``multiple``, so that map and image have the same corners.
    """
    scale = (size or min(image.size)) / min(image.size)
    width, height = (max(multiple, round(side * scale / multiple) * multiple)
                     for side in image.size)
    return tvf.pil_to_tensor(
        image.resize((width, height), Image.Resampling.BILINEAR))


def normalization_of(model: nn.Module) -> tuple:
    """Mean and std that a model trains with, in gray levels."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean = getattr(preprocessor, 'mean', None)
    std = getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return IMAGENET_MEAN, IMAGENET_STD
    return mean, std


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
