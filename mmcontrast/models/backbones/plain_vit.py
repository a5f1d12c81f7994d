"""Use a ViT without a class token as the backbone of detectors and segmentors."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...registry import MODELS
from ..layers.conv_stem import ConvStem
from ..layers.transformer import TransformerBlock
from .loading import ClipLoadReport
from .plain_loading import load_clip, load_timm
from .positions import FittedPositions, fit_grid
from .pyramid import power_of_two
from .towers import ViTSizes, vit_sizes
from .windows import WindowLayout, window_counts


@MODELS.register_module()
class PlainViT(FittedPositions, BaseModule):
    """ViT of one stride with window attention and shifted-window learning.

    Source: DITO (Kim, Angelova and Kuo, arXiv 2310.00161), whose defaults these are,
    and ViTDet (Li et al., ECCV 2022). Images of any size are padded with zeros at the
    right and bottom to whole patches, maps are split into near-equal windows.

    Shifted-window learning averages two passes: the second one rolls the patch tokens
    by ``(-shift, +shift)`` rows and columns before the positions are added, and rolls
    its output back. Both passes run as one batch.

    Weights of open_clip: ``init_cfg=dict(type='CLIPPretrained', ...)`` with
    ``pre_norm=True, norm_eps=1e-5`` and their ``activation``; the class token and its
    position are dropped. Weights of timm: ``type='TimmPretrained'``.

    Args:
        tower: Architecture of open_clip that gives the sizes, such as 'ViT-B-16'. None
            for sizes of your own.
        layers, width, patch_size, mlp_ratio: Those of ViT-B/16 without a tower.
        heads: None for heads of 64 channels without a tower.
        pos_grid: n; the position table covers n x n patches.
        pos_mode: How the table is fitted to a map: 'resize' or 'crop', see
            :func:`~.positions.fit_grid`.
        windows: Windows per side of every block, None for a global block; a shorter
            pattern is repeated: ``(4, 4, None)``. None: all blocks are global.
        shift: In tokens; half a window is DITO's choice. 0: one pass.
        stride: Image pixels that a patch stands for. None: the power of two nearest to
            the patch size. Where it differs from the patch size (14), images are scaled
            to match; ``stride=14`` uses them as they are.
        activation: 'gelu_tanh' (DITO, SigLIP), 'gelu' (most others) or 'quick_gelu'
            (OpenAI).
        norm_eps: Of all layer norms: 1e-6 for DITO and timm, 1e-5 for CLIP.
        pre_norm: CLIP's layer norm before the blocks.
        patch_bias: Bias of the patch embedding; zero where the weights have none.
            Without effect with ``conv_stem``, whose last convolution has one.
        conv_stem: Embed patches with a few convolutions (:class:`ConvStem`) instead of
            one linear map. Learns from far fewer images; for networks of your own, as
            weights of CLIP and timm do not have it.
        drop_path: Rate of the last block; it rises from 0 linearly.
        out_indices: Blocks whose maps are returned, from 0 or -1 for the last. None:
            the last. Blocks behind them are not built.
        final_norm: Layer norm after the last block, where its map is returned.
        with_projection: Keep CLIP's frozen projection to text embeddings for
            :meth:`project`.
        embed_dims: D, width of the text embeddings; the tower's own.
        frozen_stages: 0 freezes the patch embedding and positions, i also the first i
            blocks, the number of blocks also the final norm; -1 nothing.
        frozen: Freeze everything.
        with_cp: Recompute each block in the backward to save memory.

    Attributes:
        out_channels: Channels of the maps.
        embed_dims: Channels that :meth:`project` gives.

    Raises:
        ValueError: If open_clip has no such tower, or a size contradicts it.
    """

    def __init__(self, tower: str | None = None, *, layers: int | None = None,
                 width: int | None = None, heads: int | None = None,
                 patch_size: int | None = None, mlp_ratio: float | None = None,
                 pos_grid: int = 14, pos_mode: str = 'resize',
                 windows: Sequence[int | None] | None = None, shift: int = 0,
                 stride: int | None = None, activation: str = 'gelu_tanh',
                 norm_eps: float = 1e-6, pre_norm: bool = False,
                 patch_bias: bool = True, conv_stem: bool = False,
                 drop_path: float = 0.0, out_indices: Sequence[int] | None = None,
                 final_norm: bool = True, with_projection: bool = False,
                 embed_dims: int | None = None, frozen_stages: int = -1,
                 frozen: bool = False, with_cp: bool = False,
                 init_cfg: dict | None = None):
        super().__init__(pos_mode, init_cfg=init_cfg)
        sizes = vit_sizes(tower, layers=layers, width=width, heads=heads,
                          patch_size=patch_size, mlp_ratio=mlp_ratio,
                          embed_dims=embed_dims)
        self.out_indices = _out_blocks(out_indices, sizes.layers)
        self.windows = window_counts(windows, sizes.layers)
        if not isinstance(shift, int) or shift < 0:
            raise ValueError(
                f'shift must be an integer, 0 or more tokens, got {shift}.')
        self.shift = shift
        self.patch_size = sizes.patch_size
        self.stride = stride or power_of_two(sizes.patch_size)
        self.activation, self.norm_eps = activation, norm_eps
        self.pre_norm, self.patch_bias = pre_norm, patch_bias
        self.final_norm = final_norm and sizes.layers - 1 in self.out_indices
        self.with_projection, self.with_cp = with_projection, with_cp
        self.width = sizes.width
        self.embed_dims = sizes.embed_dims if with_projection else sizes.width
        self.out_channels = (sizes.width,) * len(self.out_indices)
        self.conv_stem = conv_stem
        self._build(sizes, pos_grid, drop_path)
        self.frozen_stages = self._freeze(frozen_stages, frozen)

    def _build(self, sizes: ViTSizes, grid: int, drop_path: float) -> None:
        width, std, eps = sizes.width, sizes.width ** -0.5, self.norm_eps
        self.conv1 = (ConvStem(width, sizes.patch_size) if self.conv_stem else
                      nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size,
                                bias=self.patch_bias))
        self.positional_embedding = nn.Parameter(std * torch.randn(grid ** 2, width))
        if self.pre_norm:
            self.ln_pre = nn.LayerNorm(width, eps)
        rates = [drop_path * i / max(1, sizes.layers - 1)
                 for i in range(self.out_indices[-1] + 1)]
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(
            TransformerBlock(width, sizes.heads, sizes.mlp_ratio, rate, self.activation,
                             eps) for rate in rates)
        if self.final_norm:
            self.ln_post = nn.LayerNorm(width, eps)
        if self.with_projection:
            self.proj = nn.Parameter(std * torch.randn(width, sizes.embed_dims),
                                     requires_grad=False)

    def forward(self, x: Tensor, positions: Tensor | None = None
                ) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the maps (B, C, H / stride, W / stride), rounded up.

        Args:
            x: Normalized images.
            positions: Embeddings to add instead of the fitted table, (N, C) for all or
                (B, N, C) for each image, of the N patches in row-major order.
        """
        x = self.conv1(self._whole_patches(x))
        height, width = x.shape[-2:]
        if positions is None:
            positions = self.positions(height, width)
        if self.shift:
            x = torch.cat([x, x.roll((-self.shift, self.shift), (2, 3))])
            if positions.dim() == 3:
                positions = positions.repeat(2, 1, 1)
        tokens = x.flatten(2).mT.contiguous() + positions.to(x.dtype)
        if self.pre_norm:
            tokens = self.ln_pre(tokens)
        return tuple(tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
                     for tokens in self._blocks(tokens, height, width))

    def _whole_patches(self, x: Tensor) -> Tensor:
        """Pad images to whole patches, and scale them where stride != patch size."""
        stride, (height, width) = self.stride, x.shape[-2:]
        rows, cols = -(-height // stride), -(-width // stride)
        if (rows * stride, cols * stride) != (height, width):
            x = F.pad(x, (0, cols * stride - width, 0, rows * stride - height))
        if stride == self.patch_size:
            return x
        size = rows * self.patch_size, cols * self.patch_size
        return F.interpolate(x, size, mode='bilinear', align_corners=False)

    def _blocks(self, tokens: Tensor, height: int, width: int) -> list[Tensor]:
        """(B or 2 B, N, C) -> the outputs (B, N, C) of ``out_indices``.

        Tokens change their order only where the window count changes: global attention
        gives the same in every order.
        """
        outputs, layout, last = [], None, len(self.windows) - 1
        for i, block in enumerate(self.transformer.resblocks):
            count = self.windows[i]
            if count is not None and (layout is None or layout.count != count):
                tokens = layout.merge(tokens) if layout else tokens
                layout = WindowLayout(height, width, count)
                tokens = layout.split(tokens)
            tokens = self._run(block, tokens, None if count is None else layout.runs)
            if i in self.out_indices:
                out = layout.merge(tokens) if layout else tokens
                out = self._mean_of_passes(out, height, width)
                outputs.append(
                    self.ln_post(out) if self.final_norm and i == last else out)
        return outputs

    def _run(self, block: nn.Module, tokens: Tensor, runs: tuple | None) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(block, tokens, runs, use_reentrant=False)
        return block(tokens, runs)

    def _mean_of_passes(self, tokens: Tensor, height: int, width: int) -> Tensor:
        if not self.shift:
            return tokens
        plain, shifted = tokens.chunk(2)
        shifted = shifted.unflatten(1, (height, width)).roll(
            (self.shift, -self.shift), (1, 2)).flatten(1, 2)
        return (plain + shifted) / 2

    def _fit(self, height: int, width: int) -> Tensor:
        return fit_grid(self.positional_embedding, height, width, self.pos_mode)

    def project(self, features: Tensor, dim: int = -1) -> Tensor:
        """Map features of the last block into the space of CLIP's texts.

        The projection is linear: means over a map or a region are projected after the
        mean, which costs less and gives the same. Without ``with_projection`` the
        features are returned unchanged.

        Args:
            features: Axis ``dim`` of length C, such as pooled ones (R, C).
            dim: 1 for maps (B, C, H, W).

        Returns:
            The same shape with D in place of C.
        """
        if not self.with_projection:
            return features
        return (features.movedim(dim, -1) @ self.proj.to(features.dtype)).movedim(
            -1, dim)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise learning rate decay, as in mmpretrain.

        Args:
            param_name: Name in the whole model.
            prefix: Of this backbone in it, such as ``'backbone.'``.

        Returns:
            Depth and number of depths: 0 for the patch embedding and positions, 1 for
            the first block, the largest for the final norm and other modules.
        """
        depths = len(self.transformer.resblocks) + 2
        name = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix):
            return depths - 1, depths
        if name.startswith('transformer.resblocks.'):
            return int(name.split('.')[2]) + 1, depths
        stem = ('conv1.', 'positional_embedding', 'ln_pre.')
        return 0 if name.startswith(stem) else depths - 1, depths

    def _freeze(self, stages: int, everything: bool) -> int:
        """Turn gradients off; returns the number of frozen stages."""
        blocks = len(self.transformer.resblocks)
        if not -1 <= stages <= blocks:
            raise ValueError(
                f'frozen_stages must be -1 to {blocks}, got {stages}.')
        self.frozen_stages = blocks if everything else stages
        for module in self._frozen_modules():
            module.requires_grad_(False)
        if self.frozen_stages >= 0:
            self.positional_embedding.requires_grad_(False)
        return self.frozen_stages

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        blocks = self.transformer.resblocks
        modules = [self.conv1, *blocks[:self.frozen_stages]]
        modules += [self.ln_pre] if self.pre_norm else []
        whole = self.frozen_stages == len(blocks) and self.final_norm
        return [*modules, self.ln_post] if whole else modules

    def train(self, mode: bool = True):
        """Frozen blocks stay in eval mode: they drop no paths."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def load_clip(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Load CLIP's image tower; see :func:`~.plain_loading.load_clip`."""
        return load_clip(self, state)

    def load_timm(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Load a ViT of timm; see :func:`~.plain_loading.load_timm`."""
        return load_timm(self, state)


def _out_blocks(out_indices: Sequence[int] | None, layers: int) -> tuple[int, ...]:
    given = (-1,) if out_indices is None else tuple(out_indices)
    found = tuple(i + layers if i < 0 else i for i in given)
    if not found or list(found) != sorted(set(found)) or not (
            0 <= found[0] and found[-1] < layers):
        raise ValueError(
            f'out_indices must name some of the blocks 0 to {layers - 1} (-1 for the '
            f'last) in ascending order, got {given}.')
    return found
