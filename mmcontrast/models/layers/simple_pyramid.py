"""Build a feature pyramid from the one map of a plain ViT."""
import math
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS
from .channel_norm import ChannelLayerNorm


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Every level from the same map by transposed convolutions or a max pool.

    Source: ViTDet (Li et al., ECCV 2022), in the form of DITO's reference
    implementation: no biases except by option, layer norms over channels, exact GELU.
    Level l has stride 2^l; the levels of DITO are 2 to 5, those of F-VLM 2 to 6.
    Parameter names are ``p2.up1``, ``p2.up1_ln``, ``p2.up2``, ``p2.conv1``, ``p2.ln1``
    and so on.

    Differences: where the map has an odd side, the pool of the coarser levels keeps the
    last row or column (the reference, whose maps are always even, would drop it), and
    any patch stride is allowed.

    Args:
        in_channels: Of the map.
        out_channels: Of every level.
        levels: In ascending order.
        patch_stride: Stride of the map, a power of two.
        norm_eps: Of all layer norms.
        upsample_bias: Give the transposed convolutions biases, as in ViTDet and PropVG.

    Attributes:
        strides: Of the levels.
    """

    def __init__(self, in_channels: int, out_channels: int = 256,
                 levels: Sequence[int] = (2, 3, 4, 5), patch_stride: int = 16,
                 norm_eps: float = 1e-6, upsample_bias: bool = False,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.levels = tuple(levels)
        _check(self.levels, patch_stride)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.strides = tuple(2 ** level for level in self.levels)
        for level in self.levels:
            doublings = int(math.log2(patch_stride)) - level
            self.add_module(f'p{level}', PyramidLevel(
                in_channels, out_channels, doublings, norm_eps, upsample_bias))

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The map (B, C, H, W), or a sequence of only it -> a map per level.

        Raises:
            ValueError: If the sequence holds more than one map.
        """
        if not isinstance(inputs, Tensor):
            if len(inputs) != 1:
                raise ValueError(
                    f'SimpleFeaturePyramid builds all levels from one map, got '
                    f'{len(inputs)}. Set out_indices of the backbone to one block '
                    '(PlainViT: leave it out).')
            inputs = inputs[0]
        return tuple(getattr(self, f'p{level}')(inputs) for level in self.levels)


class PyramidLevel(nn.Module):
    """One level: resample, then 1x1 and 3x3 convolutions, a layer norm after each.

    Args:
        in_channels, out_channels: Widths.
        doublings: Times that the resolution is doubled; negative: times it is halved,
            once by a max pool before the convolutions, further times by leaving out
            rows and columns after them.
        norm_eps: Of the layer norms.
        upsample_bias: Of the transposed convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, doublings: int,
                 norm_eps: float, upsample_bias: bool = False):
        super().__init__()
        self.doublings = doublings
        channels = in_channels
        for i in range(1, doublings + 1):
            self.add_module(f'up{i}', nn.ConvTranspose2d(
                channels, channels // 2, 2, stride=2, bias=upsample_bias))
            channels //= 2
            if i < doublings:
                self.add_module(f'up{i}_ln', ChannelLayerNorm(channels, norm_eps))
        self.conv1 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.ln1 = ChannelLayerNorm(out_channels, norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.ln2 = ChannelLayerNorm(out_channels, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H * 2^doublings, W * 2^doublings)."""
        for i in range(1, self.doublings + 1):
            x = getattr(self, f'up{i}')(x)
            if i < self.doublings:
                x = F.gelu(getattr(self, f'up{i}_ln')(x))
        if self.doublings < 0:
            x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.ln2(self.conv2(self.ln1(self.conv1(x))))
        step = 2 ** max(0, -self.doublings - 1)
        return x[:, :, ::step, ::step] if step > 1 else x


def _check(levels: tuple[int, ...], patch_stride: int) -> None:
    if not levels or list(levels) != sorted(set(levels)) or levels[0] < 0:
        raise ValueError(
            'SimpleFeaturePyramid: levels must be logarithms of strides in ascending '
            f'order, such as (2, 3, 4, 5), got {levels}.')
    if patch_stride < 1 or patch_stride & (patch_stride - 1):
        raise ValueError(
            f'SimpleFeaturePyramid: patch_stride={patch_stride} is no power of two. '
            'PlainViT scales images for patches of 14 pixels so that its stride is '
            '16 (stride=None).')
