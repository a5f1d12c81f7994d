"""Build the levels of a feature pyramid from the single stride of a ViT."""
import math
from collections.abc import Sequence

from torch import nn

# Relative depth of the block that each level is read from: 3, 5, 7, 11 of 12.
DEPTHS = {4: 1 / 3, 8: 1 / 2, 16: 2 / 3, 32: 1}
STRIDES = tuple(DEPTHS)


def build_pyramid_level(channels: int, patch_stride: int, level_stride: int
                        ) -> nn.Module:
    """Module that resamples the patch map to the stride of a level.

    It starts with a group norm of one group. Upsampling: transposed convolutions of
    2 x 2 with batch norm and GELU between them; downsampling: one max pool.

    Args:
        channels: Of both maps.
        patch_stride, level_stride: Powers of two.
    """
    factor = patch_stride / level_stride
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


def pyramid_blocks(layers: int, strides: Sequence[int],
                   out_indices: Sequence[int] | None) -> tuple[int, ...]:
    """The block that each level is read from.

    Args:
        layers: Number of blocks.
        strides: Of the levels.
        out_indices: Blocks from 0, one per level; None for :data:`DEPTHS`.

    Raises:
        ValueError: If ``strides`` are no pyramid, or the blocks do not fit.
    """
    if not strides or not set(strides) <= set(STRIDES) or list(strides) != sorted(
            set(strides)):
        raise ValueError(
            f'strides must be some of {STRIDES} in order, got {tuple(strides)}.')
    if out_indices is None:
        return tuple(max(1, round(layers * DEPTHS[s])) - 1 for s in strides)
    found = tuple(out_indices)
    if len(found) != len(strides) or list(found) != sorted(found) or not (
            0 <= found[0] and found[-1] < layers):
        raise ValueError(
            f'out_indices must name one of the blocks 0 to {layers - 1} for each of '
            f'the strides {tuple(strides)}, in order; got {found}.')
    return found


def power_of_two(patch_size: int) -> int:
    """The power of two nearest to a patch size: 16 for 14."""
    return 2 ** round(math.log2(patch_size))
