"""Fuse tokens of a background and an object into a heat map of places and scales."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import UserValueError
from ...registry import MODELS
from .parts import paired_batch_size

# Before training, a place has the score sigmoid(-2) = 0.12.
HEAD_BIAS = -2.0
INIT = [
    dict(type='TruncNormal', layer='Linear', std=0.02),
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', override=dict(
        type='Kaiming', name='head', mode='fan_out', bias=HEAD_BIAS))]


@MODELS.register_module()
class PlacementFusion(BaseModule):
    """Transformer over object and background tokens, then a convolutional decoder.

    Every layer compares all pairs of tokens. The tokens of the background then pass
    stages of a convolution, batch norm, ReLU and bilinear upsampling by 2, and a 1 x 1
    convolution gives one channel per scale. The last two steps are swapped: bilinear
    weights add up to 1, so the results are the same and the largest map has S channels
    and no others.

    Source: TopNet (CVPR 2023, arXiv 2304.03372); sizes and normalization are ours, as
    the paper's are not known.

    Args:
        dim: D, channels of the transformer; a multiple of ``heads``.
        scales: S.
        layers, heads, mlp_ratio: Of the transformer.
        token_grid: (h, w), rows and columns of the background tokens.
        decoder_channels: Of the stages. The map has ``2 ** stages`` times the rows and
            columns of the tokens.
        background_dim, object_dim: Channels of the encoders. Where they differ from
            ``dim``, a linear layer projects the tokens. None: ``dim``.
        with_positions: Add a learned embedding to each background token. For encoders
            without position embeddings, such as a ResNet.

    Raises:
        ValueError: If ``dim`` is not a multiple of ``heads``.
    """

    def __init__(self, dim: int, scales: int = 16, layers: int = 4, heads: int = 8,
                 mlp_ratio: float = 4.0, token_grid: Sequence[int] = (16, 16),
                 decoder_channels: Sequence[int] = (256, 128, 64, 32),
                 background_dim: int | None = None, object_dim: int | None = None,
                 with_positions: bool = False,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(INIT if init_cfg is None else init_cfg)
        if dim % heads:
            raise UserValueError(
                f'fusion: dim={dim} is not a multiple of heads={heads}.')
        self.token_grid = tuple(token_grid)
        self.background_proj = _projection(background_dim, dim)
        self.object_proj = _projection(object_dim, dim)
        if with_positions:
            count = self.token_grid[0] * self.token_grid[1]
            self.pos_embed = nn.Parameter(0.02 * torch.randn(1, count, dim))
        self.layers = nn.ModuleList(
            FusionLayer(dim, heads, mlp_ratio) for _ in range(layers))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        channels = [dim, *decoder_channels]
        self.decoder = nn.ModuleList(
            DecoderStage(*pair) for pair in zip(channels, channels[1:], strict=False))
        self.head = nn.Conv2d(channels[-1], scales, 1)
        # Tokens are channels-last maps already; convolutions need no copy of them.
        self.decoder.to(memory_format=torch.channels_last)

    def forward(self, background: Tensor, object_token: Tensor) -> Tensor:
        """Logits of every scale and place.

        Args:
            background: (B, N, C) tokens in row-major order, N = h * w, or (1, N, C)
                for one background and B objects.
            object_token: (B, C') tokens of the objects, or (1, C') for one object and B
                backgrounds.

        Returns:
            (B, S, H, W) logits.
        """
        return self.decode(self.fuse(background, object_token)[:, 1:])

    def fuse(self, background: Tensor, object_token: Tensor) -> Tensor:
        """(B, N, C) and (B, C') -> (B, 1 + N, D), the object's token first."""
        check_tokens(background.shape, self.token_grid)
        batch = paired_batch_size(len(background), len(object_token))
        background = self.background_proj(background)
        if hasattr(self, 'pos_embed'):
            background = background + self.pos_embed.to(background.dtype)
        object_token = self.object_proj(object_token)[:, None]
        x = torch.cat([token.expand(batch, -1, -1)
                       for token in (object_token, background)], 1)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, N, D) background tokens after the transformer -> (B, S, H, W) logits."""
        x = tokens.contiguous().transpose(1, 2).unflatten(2, self.token_grid)
        for i, stage in enumerate(self.decoder):
            x = stage(_twice(x) if i else x)
        x = self.head(x).contiguous()
        return _twice(x) if len(self.decoder) else x


class FusionLayer(nn.Module):
    """Pre-norm transformer layer with the key names of timm.

    Args:
        dim: D.
        heads: Attention heads.
        mlp_ratio: Hidden channels of the MLP over D.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = FusionAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict(dict(fc1=nn.Linear(dim, int(mlp_ratio * dim)),
                                      fc2=nn.Linear(int(mlp_ratio * dim), dim)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class FusionAttention(nn.Module):
    """Self-attention with one linear layer for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the same."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(*qkv)
        return self.proj(out.transpose(1, 2).flatten(2))


class DecoderStage(nn.Module):
    """3 x 3 convolution, batch norm and ReLU; the decoder upsamples in between."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def check_tokens(shape: Sequence[int], token_grid: Sequence[int]) -> None:
    """Check that background tokens (B, N, C) fill the grid of the decoder.

    Raises:
        UserValueError: If their number differs.
    """
    rows, columns = token_grid
    if len(shape) != 3 or shape[1] != rows * columns:
        raise UserValueError(
            f'fusion: the decoder starts from {rows} x {columns} tokens, but the '
            f'background encoder gives {tuple(shape)}. Change the image size or the '
            'stride of the encoder, or the number of decoder_channels: each stage '
            'doubles rows and columns up to those of the grid.')


def _projection(in_dim: int | None, dim: int) -> nn.Module:
    return nn.Identity() if in_dim in (None, dim) else nn.Linear(in_dim, dim)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
