"""From the one stride of a vision transformer to the four of a pyramid."""
import math

from torch import nn

STRIDES = (4, 8, 16, 32)


def build_taps(channels: int, stride: int) -> list[nn.Module]:
    """One module for each of the strides 4, 8, 16 and 32.

    Each starts with a group norm of one group. Up: transposed convolutions of 2 x 2
    with batch norm and GELU between them; down: one max pool.

    Args:
        channels: C of tokens and maps.
        stride: Pixels between patches, a power of two.
    """
    return [_tap(channels, stride / wanted) for wanted in STRIDES]


def _tap(channels: int, factor: float) -> nn.Module:
    norm = nn.GroupNorm(1, channels)
    if factor == 1:
        return norm
    if factor < 1:
        return nn.Sequential(norm, nn.MaxPool2d(int(1 / factor)))
    parts = [norm, nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    for _ in range(int(math.log2(factor)) - 1):
        parts += [nn.BatchNorm2d(channels), nn.GELU(),
                  nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    return nn.Sequential(*parts)


def power_of_two(patch_size: int) -> int:
    """The power of two nearest to a patch size: 16 for 14."""
    return 2 ** round(math.log2(patch_size))
