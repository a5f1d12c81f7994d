"""Use CLIP's vision transformers as backbones of detectors and segmentors."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS
from ..layers.transformer import TransformerBlock
from .loading import ClipLoadReport, load_tower
from .positions import FittedPositions
from .pyramid import STRIDES, build_pyramid_level, power_of_two, pyramid_blocks
from .towers import ViTSizes, vit_sizes


@MODELS.register_module()
class CLIPVisionTransformer(FittedPositions, BaseModule):
    """CLIP's ViT with a feature pyramid: maps of strides 4, 8, 16 and 32.

    Positions are resized to the image; each pyramid level resamples the patch tokens
    after a block (see :mod:`.pyramid`). Where the patch size is no power of two
    (ViT-L/14), images are scaled so that a patch covers the nearest one (16 pixels) and
    the strides hold.

    Args:
        tower: Architecture of open_clip that gives the sizes: 'ViT-B-16', 'ViT-L-14',
            ... None for sizes of your own.
        layers, width, patch_size, embed_dims: Those of ViT-B/16 without a tower.
        heads: None for heads of 64 channels without a tower.
        input_size: Side in pixels of the images that the position table is laid out
            for; weights of another size are resized to it. None: the tower's own, 224
            without a tower.
        strides: Of the maps. Leave out levels that the neck does not read (an FPN that
            starts at the second map): their parameters would never get a gradient.
        out_indices: The block that each map is read from. None: those at one third,
            half, two thirds and the end, blocks 3, 5, 7 and 11 of 12.
        with_embeddings: Add the pair ``(global (B, D), local (B, D, H, W))`` as the
            last output, both in the space of CLIP's texts; H and W at patch stride.
        drop_path: Rate of the last block; it rises from 0 linearly. Both branches.
        quick_gelu: Activation of OpenAI's weights; most others use GELU.
        class_token_twice: Add the class embedding a second time with the positions, as
            the released DenseCLIP models do. False gives CLIP's own tokens.

    Attributes:
        out_channels: Channels of the maps.

    Raises:
        ValueError: If open_clip has no such tower, or a size contradicts it.
    """

    def __init__(self, tower: str | None = None, layers: int | None = None,
                 width: int | None = None, heads: int | None = None,
                 patch_size: int | None = None, embed_dims: int | None = None,
                 input_size: int | None = None, strides: Sequence[int] = STRIDES,
                 out_indices: Sequence[int] | None = None,
                 with_embeddings: bool = False, drop_path: float = 0.0,
                 quick_gelu: bool = True, class_token_twice: bool = True,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        sizes = vit_sizes(tower, layers=layers, width=width, heads=heads,
                          patch_size=patch_size, embed_dims=embed_dims)
        self.strides = tuple(strides)
        self.out_indices = pyramid_blocks(sizes.layers, self.strides, out_indices)
        self.patch_size = sizes.patch_size
        self.stride = power_of_two(sizes.patch_size)
        self.with_embeddings = with_embeddings
        self.quick_gelu = quick_gelu
        self.class_token_twice = class_token_twice
        self.embed_dims = sizes.embed_dims
        self.out_channels = (sizes.width,) * len(self.strides)
        grid = (input_size // self.stride if input_size
                else sizes.input_size // sizes.patch_size)
        self._build(sizes, grid, drop_path)

    def _build(self, sizes: ViTSizes, grid: int, drop_path: float) -> None:
        width, std = sizes.width, sizes.width ** -0.5
        self.conv1 = nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size, bias=False)
        self.class_embedding = nn.Parameter(std * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            std * torch.randn(grid ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        rates = [drop_path * i / max(1, sizes.layers - 1) for i in range(sizes.layers)]
        self.transformer = nn.Module()
        activation = 'quick_gelu' if self.quick_gelu else 'gelu'
        self.transformer.resblocks = nn.ModuleList(
            TransformerBlock(width, sizes.heads, sizes.mlp_ratio, rate, activation)
            for rate in rates)
        for stride in self.strides:
            self.add_module(
                _level_name(stride), build_pyramid_level(width, self.stride, stride))
        if self.with_embeddings:
            self.ln_post = nn.LayerNorm(width)
            self.proj = nn.Parameter(std * torch.randn(width, sizes.embed_dims))

    def forward(self, x: Tensor) -> tuple:
        """Images (B, 3, H, W) -> the maps, then (global, local) if asked for."""
        x = self.conv1(self._to_patch_scale(x))
        height, width = x.shape[-2:]
        tokens = self.ln_pre(self._tokens(x))
        block_tokens = {}
        for i, block in enumerate(self.transformer.resblocks):
            tokens = block(tokens)
            if i in self.out_indices:
                block_tokens[i] = tokens
        maps = [getattr(self, _level_name(stride))(
                    _as_map(block_tokens[i], height, width))
                for stride, i in zip(self.strides, self.out_indices, strict=True)]
        if self.with_embeddings:
            embeds = self.ln_post(tokens) @ self.proj
            maps.append((embeds[:, 0], _as_map(embeds, height, width)))
        return tuple(maps)

    def _to_patch_scale(self, x: Tensor) -> Tensor:
        if self.patch_size == self.stride:
            return x
        size = [max(1, side // self.stride) * self.patch_size for side in x.shape[-2:]]
        return F.interpolate(x, size, mode='bilinear', align_corners=False)

    def _tokens(self, x: Tensor) -> Tensor:
        """Patch map (B, C, H, W) -> class token and patches with positions."""
        first = self.class_embedding * (2 if self.class_token_twice else 1)
        first = first.to(x.dtype).expand(len(x), 1, -1)
        tokens = torch.cat([first, x.flatten(2).mT], 1)
        return tokens + self.positions(*x.shape[-2:]).to(x.dtype)

    def load_clip(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Load CLIP's image tower; see :func:`~.loading.load_tower`."""
        unused = () if self.with_embeddings else ('ln_post.*', 'proj')
        return load_tower(self, state, may_miss=('fpn?.*',), may_skip=unused)


def _level_name(stride: int) -> str:
    """As in the released checkpoints: fpn1 for stride 4 to fpn4 for 32."""
    return f'fpn{STRIDES.index(stride) + 1}'


def _as_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Patch tokens of (B, 1 + H * W, C) -> (B, C, H, W)."""
    return tokens[:, 1:].mT.unflatten(2, (height, width))
