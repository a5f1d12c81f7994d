"""Embed patches with a few convolutions."""
from torch import nn

from ...errors import UserValueError


class ConvStem(nn.Sequential):
    """Convolutions in place of the one that embeds the patches of a ViT.

    "Early Convolutions Help Transformers See Better", Xiao et al., NeurIPS 2021
    (arXiv 2106.14881): 3 x 3 convolutions of stride 2 down to the patch size, then a
    1 x 1 convolution. Networks learn with far fewer images and steps. Groups of 16
    channels are normalized, where the paper has batch norms: detectors train with few
    images.

    Input (B, 3, H, W), output (B, width, H / patch_size, W / patch_size).

    Args:
        width: Channels of the tokens; halved for every convolution before the last one
            of stride 2.
        patch_size: 2, 4, 8, 16, ...

    Raises:
        ValueError: If the patch size is no power of two, or the width cannot be halved
            that often.
    """

    def __init__(self, width: int, patch_size: int) -> None:
        steps = patch_size.bit_length() - 1
        first = width >> max(0, steps - 1)
        if steps < 1 or patch_size != 1 << steps or first << (steps - 1) != width:
            raise UserValueError(
                f'conv_stem halves the image once for every power of two in patch_size '
                f'and doubles the channels up to width: patch_size={patch_size} with '
                f'width={width} does not fit. Use a patch_size of 2, 4, 8 or 16 and a '
                'width that half of it divides.')
        layers, channels = [], 3
        for step in range(steps):
            out = first << step
            layers += [nn.Conv2d(channels, out, 3, 2, 1, bias=False),
                       nn.GroupNorm(out // 16 if out % 16 == 0 else 1, out), nn.GELU()]
            channels = out
        super().__init__(*layers, nn.Conv2d(width, width, 1))
