"""Decode the mask of a phrase from the pyramid, coarse to fine."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class UNetMaskDecoder(BaseModule):
    """Upsample, join the next finer level, convolve twice; then one logit per cell.

    Source: PropVG (Dai et al., ICCV 2025), the mask branch of its released code. Maps
    are upsampled with ``align_corners=True``; batch norms are those of one rank.

    Args:
        channels: Of every level and of the features.
        num_levels: Maps that the forward pass is given.
    """

    def __init__(self, channels: int = 256, num_levels: int = 4,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.fusions = nn.ModuleList(
            FuseLevel(channels) for _ in range(num_levels - 1))
        self.predict = nn.Conv2d(channels, 1, 1)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features and logits at the size of the finest level.

        Args:
            levels: (B, channels, h, w) maps, fine to coarse.

        Returns:
            Features (B, channels, h, w) and mask logits (B, 1, h, w).
        """
        x, *finer = reversed(levels)
        for fusion, level in zip(self.fusions, finer, strict=True):
            x = fusion(x, level)
        return x, self.predict(x)


class FuseLevel(nn.Module):
    """Join a coarse map to a finer one.

    Args:
        channels: Of both maps and of the output.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, C, h, w) and (B, C, H, W) -> (B, C, H, W)."""
        x = torch.cat([resize_aligned(coarse, fine.shape[-2:]), fine], 1)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


def resize_aligned(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) maps bilinearly so that corner cells stay at the corners."""
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=True)
