"""Use CLIP's ResNets as backbones of detectors and segmentors."""
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...registry import MODELS
from ..clip_weights import open_clip
from .attention_pool import DenseAttentionPool
from .loading import ClipLoadReport, load_tower
from .towers import ResNetSizes, resnet_sizes


@MODELS.register_module()
class CLIPResNet(BaseModule):
    """CLIP's ModifiedResNet without its pooling: maps of strides 4, 8, 16 and 32.

    Three convolutions in the stem, and an average pool before every convolution that
    would have a stride (Radford et al., 2021). The first convolution rounds sizes up,
    every pool rounds them down. Blocks are open_clip's, keys are OpenAI's.

    Args:
        tower: Architecture of open_clip that gives the sizes: 'RN50', 'RN101',
            'RN50x4', 'RN50x16', 'RN50x64'. None for sizes of your own.
        layers: Blocks of the four stages; those of RN50 without a tower.
        width: Channels of the stem, 64 without a tower; the stages give 4, 8, 16 and
            32 times as many.
        out_indices: Stages whose maps are returned.
        frozen_stages: 0 freezes the stem, i also the first i stages; -1 nothing.
        norm_eval: Keep the batch norms on their running statistics in training.

    Attributes:
        out_channels: Channels of the returned maps.

    Raises:
        ValueError: If open_clip has no such tower, or a size contradicts it.
    """

    def __init__(self, tower: str | None = None, layers: Sequence[int] | None = None,
                 width: int | None = None, out_indices: Sequence[int] = (0, 1, 2, 3),
                 frozen_stages: int = -1, norm_eval: bool = False,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        sizes = resnet_sizes(tower, layers=layers, width=width)
        _check(sizes, out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._build_stem(sizes.width)
        self._build_stages(sizes)
        self.out_channels = tuple(sizes.width * 4 * 2 ** i for i in self.out_indices)
        self._freeze()

    def _build_stem(self, width: int) -> None:
        half = width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def _build_stages(self, sizes: ResNetSizes) -> None:
        block = open_clip().modified_resnet.Bottleneck
        channels = sizes.width
        for stage, count in enumerate(sizes.layers):
            planes = sizes.width * 2 ** stage
            blocks = [block(channels, planes, stride=1 if stage == 0 else 2)]
            channels = planes * block.expansion
            blocks += [block(channels, planes) for _ in range(count - 1)]
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the maps of ``out_indices``."""
        maps = self._stages(x)
        return tuple(maps[i] for i in self.out_indices)

    def _stages(self, x: Tensor) -> list[Tensor]:
        for i in (1, 2, 3):
            x = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(x))
            x = F.relu(x, inplace=True)
        x = F.avg_pool2d(x, 2)
        maps = []
        for i in (1, 2, 3, 4):
            x = getattr(self, f'layer{i}')(x)
            maps.append(x)
        return maps

    def train(self, mode: bool = True):
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        frozen = [self.conv1, self.bn1, self.conv2, self.bn2, self.conv3, self.bn3]
        frozen += [getattr(self, f'layer{i + 1}') for i in range(self.frozen_stages)]
        for module in frozen if self.frozen_stages >= 0 else ():
            module.eval().requires_grad_(False)

    def load_clip(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Load CLIP's image tower; see :func:`~.loading.load_tower`."""
        return load_tower(self, state, may_skip=('attnpool.*',))


@MODELS.register_module()
class CLIPResNetWithAttention(CLIPResNet):
    """CLIP's ResNet with dense attention pooling, for DenseCLIP.

    The last output is the pair ``(global (B, D), local (B, D, H / 32, W / 32))`` of
    :class:`DenseAttentionPool`; the maps come before it.

    Args:
        tower, layers, width: See :class:`CLIPResNet`.
        embed_dims: D, 1024 without a tower.
        num_heads: Of the pool; None for heads of 64 channels, CLIP's choice.
        input_size: Side in pixels of the images that the position table is laid out
            for; weights of another size are resized to it. None: the tower's own, 224
            without a tower.
        pos_mode: How the table is fitted to a map: 'resize', or 'crop' as in the
            released detectors (with ``input_size=1344``).
        local: 'attention', or 'value': each cell by itself; see
            :class:`DenseAttentionPool`.
    """

    def __init__(self, tower: str | None = None, layers: Sequence[int] | None = None,
                 width: int | None = None, embed_dims: int | None = None,
                 num_heads: int | None = None, input_size: int | None = None,
                 pos_mode: str = 'resize', local: str = 'attention',
                 init_cfg: dict | None = None, **kwargs):
        super().__init__(tower, layers, width, init_cfg=init_cfg, **kwargs)
        sizes = resnet_sizes(tower, layers=layers, width=width, embed_dims=embed_dims)
        self.embed_dims = sizes.embed_dims
        self.attnpool = DenseAttentionPool(
            sizes.width * 32, sizes.embed_dims, num_heads,
            (input_size or sizes.input_size) // 32, pos_mode, local)

    def forward(self, x: Tensor) -> tuple:
        """Images (B, 3, H, W) -> maps of ``out_indices``, then (global, local)."""
        maps = self._stages(x)
        return (*(maps[i] for i in self.out_indices), self.attnpool(maps[-1]))

    def load_clip(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Load CLIP's image tower; see :func:`~.loading.load_tower`."""
        return load_tower(self, state)


def _check(sizes: ResNetSizes, out_indices: Sequence[int], frozen_stages: int) -> None:
    if len(sizes.layers) != 4 or min(sizes.layers) < 1:
        raise ValueError(
            f'layers must be the blocks of four stages, got {tuple(sizes.layers)}.')
    if not out_indices or not set(out_indices) <= {0, 1, 2, 3}:
        raise ValueError(
            f'out_indices must be among the stages 0 to 3, got {tuple(out_indices)}.')
    if not -1 <= frozen_stages <= 4:
        raise ValueError(f'frozen_stages must be -1 to 4, got {frozen_stages}.')
