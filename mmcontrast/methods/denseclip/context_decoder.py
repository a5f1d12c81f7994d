"""Condition class embeddings on an image with a small transformer decoder."""
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class ContextDecoder(BaseModule):
    """Transformer decoder: text queries attend to each other and to visual tokens.

    Pre-norm layers without position embeddings or masks.

    Source: DenseCLIP (CVPR 2022), section 3.3, and the released code, whose parameter
    names it has.

    Args:
        visual_dim: Width of the visual tokens.
        text_dim: Width of the queries and of the output; that of the tokens by default.
        width, heads, layers: Size of the transformer.
        dropout: After each output projection, and inside and after the MLPs.
    """

    def __init__(self, visual_dim: int = 1024, text_dim: int | None = None,
                 width: int = 256, heads: int = 4, layers: int = 3,
                 dropout: float = 0.1, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        if width % heads:
            raise ValueError(f'ContextDecoder: width={width} is not a multiple of '
                             f'heads={heads}.')
        text_dim = text_dim or visual_dim
        self.memory_proj = nn.Sequential(
            nn.LayerNorm(visual_dim), nn.Linear(visual_dim, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(
            nn.LayerNorm(text_dim), nn.Linear(text_dim, width))
        self.decoder = nn.ModuleList(
            DecoderLayer(width, heads, dropout) for _ in range(layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, text_dim))
        self.apply(_small_normal)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Residuals of the class embeddings, given an image.

        Args:
            text: (B, K, text_dim) queries.
            visual: (B, P, visual_dim) tokens of the images.

        Returns:
            (B, K, text_dim).
        """
        memory, queries = self.memory_proj(visual), self.text_proj(text)
        for layer in self.decoder:
            queries = layer(queries, memory)
        return self.out_proj(queries)


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and MLP."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Dropout(dropout), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


class Attention(nn.Module):
    """Multi-head attention without bias in query, key and value."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(width, width, bias=False) for _ in range(3))
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """(B, K, width) queries over (B, P, width) keys and values."""
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in
            (self.q_proj(query), self.k_proj(memory), self.v_proj(memory)))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2)))


def _small_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
