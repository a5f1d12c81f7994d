"""Transform vision and text tokens by separate weights that attend to each other.

Source: BEiT-3 (Wang et al., CVPR 2023, arXiv 2208.10442) with the sub-LayerNorm of
Magneto (Wang et al., ICML 2023, arXiv 2210.06423). Parameter names are those of the
released files.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...errors import UserValueError

#: Vision tokens (B, N, C) and text tokens (B, T, C) of the same samples.
Pair = tuple[Tensor, Tensor]


class Multiway(nn.Module):
    """Two copies of a module: ``A`` for vision tokens, ``B`` for text tokens.

    The two kinds of tokens stay two tensors, so that nothing is split or concatenated
    for a layer that works token by token.

    Args:
        build: Makes one copy.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.A, self.B = build(), build()

    def forward(self, tokens: Pair) -> Pair:
        vision, text = tokens
        return self.A(vision), self.B(text)


class MultiwayEncoder(nn.Module):
    """Pre-norm transformer layers whose norms and linear maps are multiway.

    Args:
        dims: C.
        depth: Layers.
        heads: Attention heads.
        feedforward: Hidden channels.
        drop_path: Rate of the last layer; it rises from 0 linearly.
        vision_positions, text_positions: Rows of the two position tables.
        with_cp: Recompute each layer in the backward to save memory.
    """

    def __init__(self, dims: int, depth: int, heads: int, feedforward: int,
                 drop_path: float, vision_positions: int, text_positions: int,
                 with_cp: bool = False) -> None:
        super().__init__()
        # Used as tables only: the encoder does not look positions up itself.
        self.embed_positions = nn.ModuleDict(dict(
            A=nn.Embedding(vision_positions, dims),
            B=nn.Embedding(text_positions, dims)))
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.layers = nn.ModuleList(
            MultiwayLayer(dims, heads, feedforward, rate) for rate in rates)
        self.layer_norm = Multiway(lambda: nn.LayerNorm(dims))
        self.with_cp = with_cp

    def forward(self, vision: Tensor, text: Tensor, padding: Tensor) -> Pair:
        """Encode tokens whose positions have been added.

        Args:
            vision: (B, N, C). N = 0 encodes text alone.
            text: (B, T, C). T = 0 encodes images alone.
            padding: (B, T) bool, True = padding: no token attends to it, but it
                attends to the others and has an output.

        Returns:
            (B, N, C) and (B, T, C).
        """
        seen = torch.cat([padding.new_ones(vision.shape[:2]), ~padding], 1)
        mask, tokens = seen[:, None, None], (vision, text)
        for layer in self.layers:
            if self.with_cp and torch.is_grad_enabled():
                tokens = checkpoint(layer, tokens, mask, use_reentrant=False)
            else:
                tokens = layer(tokens, mask)
        return self.layer_norm(tokens)


class MultiwayLayer(nn.Module):
    """Joint self-attention and a feed-forward network, each with a residual.

    Args:
        dims, heads, feedforward: As of :class:`MultiwayEncoder`.
        drop_path: Probability that a branch is left out for a sample, for its vision
            and text tokens alike.
    """

    def __init__(self, dims: int, heads: int, feedforward: int, drop_path: float
                 ) -> None:
        super().__init__()
        self.self_attn = MultiwayAttention(dims, heads)
        self.self_attn_layer_norm = Multiway(lambda: nn.LayerNorm(dims))
        self.ffn = Multiway(lambda: FeedForward(dims, feedforward))
        self.final_layer_norm = Multiway(lambda: nn.LayerNorm(dims))
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Pair, mask: Tensor) -> Pair:
        """
        Args:
            tokens: (B, N, C) and (B, T, C).
            mask: (B, 1, 1, N + T) bool, True = may be attended to.
        """
        branch = self.self_attn(self.self_attn_layer_norm(tokens), mask)
        tokens = self._add(tokens, branch)
        return self._add(tokens, self.ffn(self.final_layer_norm(tokens)))

    def _add(self, tokens: Pair, branch: Pair) -> Pair:
        if self.training and self.drop_path.drop_prob:
            # One draw a sample: 0, or the factor that keeps the expectation.
            kept = self.drop_path(branch[0].new_ones(len(branch[0]), 1, 1))
            branch = branch[0] * kept, branch[1] * kept
        return tokens[0] + branch[0], tokens[1] + branch[1]


class MultiwayAttention(nn.Module):
    """Self-attention over both kinds of tokens, with a norm before the output.

    Raises:
        ValueError: If the heads do not divide C.
    """

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        if dims % heads:
            raise UserValueError(
                f'embed_dims={dims} is not a multiple of num_heads={heads}.')
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            Multiway(lambda: nn.Linear(dims, dims)) for _ in range(4))
        self.inner_attn_ln = Multiway(lambda: nn.LayerNorm(dims))

    def forward(self, tokens: Pair, mask: Tensor) -> Pair:
        """As :meth:`MultiwayLayer.forward`, which adds the result."""
        q, k, v = (self._heads_of(project(tokens)) for project in (
            self.q_proj, self.k_proj, self.v_proj))
        out = F.scaled_dot_product_attention(q, k, v, mask)
        out = out.transpose(1, 2).flatten(2)
        split = tokens[0].shape[1]
        return self.out_proj(self.inner_attn_ln((out[:, :split], out[:, split:])))

    def _heads_of(self, tokens: Pair) -> Tensor:
        """-> (B, heads, N + T, C / heads)."""
        return torch.cat(tokens, 1).unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear maps with GELU and a norm between them."""

    def __init__(self, dims: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dims, hidden)
        self.fc2 = nn.Linear(hidden, dims)
        self.ffn_layernorm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x))))
