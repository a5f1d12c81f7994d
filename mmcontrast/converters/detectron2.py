"""Build a ResNet with detectron2's parameter names, without detectron2.

The names are those that the released converters of PixPro and SlotCon write: a norm is
a child of its convolution, stages are ``res2`` to ``res5``, projections ``shortcut``.
"""
import re

from torch import Tensor, nn

from .resnets import BLOCKS

_RENAMES = ((r'^(conv1|bn1)\.', r'stem.\1.'), (r'\bbn(\d)\.', r'conv\1.norm.'),
            (r'\bdownsample\.0\.', 'shortcut.'),
            (r'\bdownsample\.1\.', 'shortcut.norm.'),
            (r'^layer(\d)\.', lambda match: f'res{int(match[1]) + 1}.'))


def resnet_to_detectron2(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Rule from the names of torchvision and the mm libraries to detectron2's."""
    for pattern, name in _RENAMES:
        key = re.sub(pattern, name, key)
    return key, value


class Detectron2ResNet(nn.Module):
    """ResNet whose state dict has detectron2's names.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stride_in_1x1: Whether the first convolution of a bottleneck strides (as in
            weights from Caffe) instead of the 3x3 one.
    """

    def __init__(self, depth: int = 50, stride_in_1x1: bool = False):
        super().__init__()
        num_blocks, bottleneck = BLOCKS[depth]
        self.stem = nn.ModuleDict(dict(conv1=ConvNorm(3, 64, 7, 2)))
        channels = 64
        for i, num in enumerate(num_blocks):
            width = 64 * 2 ** i
            blocks = []
            for j in range(num):
                blocks.append(Block(channels, width, 2 if i and j == 0 else 1,
                                    bottleneck, stride_in_1x1))
                channels = width * (4 if bottleneck else 1)
            self.add_module(f'res{i + 2}', nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) images -> (N, C, H / 32, W / 32) map of ``res5``."""
        x = nn.functional.max_pool2d(self.stem['conv1'](x).relu(), 3, 2, 1)
        return self.res5(self.res4(self.res3(self.res2(x))))


class Block(nn.Module):
    """Bottleneck or basic residual block."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool,
                 stride_in_1x1: bool):
        super().__init__()
        if bottleneck:
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            self.conv1 = ConvNorm(channels, width, 1, first)
            self.conv2 = ConvNorm(width, width, 3, second)
            self.conv3 = ConvNorm(width, 4 * width, 1)
        else:
            self.conv1 = ConvNorm(channels, width, 3, stride)
            self.conv2 = ConvNorm(width, width, 3)
        out = width * (4 if bottleneck else 1)
        self.shortcut = (ConvNorm(channels, out, 1, stride)
                         if stride != 1 or channels != out else None)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x).relu())
        if hasattr(self, 'conv3'):
            out = self.conv3(out.relu())
        return (out + (x if self.shortcut is None else self.shortcut(x))).relu()


class ConvNorm(nn.Conv2d):
    """Convolution that owns the norm applied to its output."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1):
        super().__init__(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))
