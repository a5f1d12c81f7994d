"""A backbone that is only being looked at, with what it needs to see images."""
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .features import IMAGENET_MEAN, IMAGENET_STD, feature_maps


@dataclass(frozen=True)
class FrozenBackbone:
    """Images in, one feature map each out; the network stays as it is.

    Attributes:
        network: Images to a map or a sequence of maps (N, C, h, w).
        mean, std: Per channel, in gray levels, in the order that the network sees.
        out_index: Which of the maps.
        bgr: Whether the network wants blue first.
        multiple: Sides of the images must be multiples of it.
        batch_size: Images a pass.
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
