"""Embed patches with a few convolutions."""
from torch import nn

from ...errors import UserValueError

_NORMS = dict(
    batch=lambda width: (nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
    group=lambda width: (
        nn.GroupNorm(width // 16 if width % 16 == 0 else 1, width), nn.GELU()))


class ConvStem(nn.Sequential):
    """Convolutions in place of the one that embeds the patches of a ViT.

    "Early Convolutions Help Transformers See Better", Xiao et al., NeurIPS 2021
    (arXiv 2106.14881): 3 x 3 convolutions of stride 2 down to the patch size, then a
    1 x 1 convolution. Networks learn with far fewer images and steps.

    Input (B, 3, H, W), output (B, width, H / patch_size, W / patch_size).

    Args:
        width: Channels of the tokens.
        patch_size: 2, 4, 8, 16, ...
        norm: 'batch', batch norms and ReLU as in the paper, or 'group', groups of 16
            channels and GELU, for detectors that train with few images.
        first: Channels of the first convolution, from where they double up to width.
            By default so many that the last convolution reaches it.

    Raises:
        ValueError: If the patch size is no power of two, the width cannot be halved
            that often, or there is no such norm.
    """

    def __init__(self, width: int, patch_size: int, norm: str = 'group',
                 first: int | None = None) -> None:
        steps = patch_size.bit_length() - 1
        first = width >> max(0, steps - 1) if first is None else first
        if steps < 1 or patch_size != 1 << steps or not _doubles(first, width, steps):
            raise UserValueError(
                f'conv_stem halves the image once for every power of two in patch_size '
                f'and doubles the channels up to width: patch_size={patch_size} with '
                f'width={width}, beginning with {first} channels, does not fit. Use a '
                'patch_size of 2, 4, 8 or 16, a width that half of it divides, and '
                'begin with width, width / 2, width / 4 ...')
        if norm not in list(_NORMS):
            raise UserValueError(
                f'The norm of conv_stem must be one of {list(_NORMS)}, got {norm!r}.')
        layers, channels = [], 3
        for step in range(steps):
            out = min(first << step, width)
            layers += [nn.Conv2d(channels, out, 3, 2, 1, bias=False),
                       *_NORMS[norm](out)]
            channels = out
        super().__init__(*layers, nn.Conv2d(width, width, 1))


def _doubles(first: int, width: int, steps: int) -> bool:
    """Whether channels reach the width in fewer steps or as many, by doubling."""
    return type(first) is int and first >= 1 and width in [
        first << step for step in range(steps)]
