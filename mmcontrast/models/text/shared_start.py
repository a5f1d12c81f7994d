"""Blocks of a causal transformer on texts that begin alike, the beginning once.

With a causal mask the start token and the contexts never see what follows, so they
are the same for all K texts. A batch is laid out as one row of tokens, (B, P + K * S,
C): P shared tokens, then the S own tokens of each text. Everything but the attention
works token by token and takes all of them in one go.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """How the tokens of a batch lie in a row.

    Attributes:
        num_shared: P tokens that all texts begin with.
        num_texts: K texts.
        num_own: S further tokens of each text.
    """

    num_shared: int
    num_texts: int
    num_own: int

    def places(self, own: Tensor) -> Tensor:
        """Where in the row the ``own[k]``-th own token of text k lies, (K, )."""
        texts = torch.arange(self.num_texts, device=own.device)
        return self.num_shared + self.num_own * texts + own


def attend(block: nn.Module, x: Tensor, layout: Layout) -> Tensor:
    """Attention of a residual block: shared tokens among themselves, the tokens of a
    text to the shared ones and to their predecessors.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        x: (B, P + K * S, C) tokens.

    Returns:
        Like ``x``, before the output projection.
    """
    attn = block.attn
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    qkv = qkv.unflatten(-1, (3, attn.num_heads, -1)).movedim(2, 0)  # (3, B, R, H, D)
    shared, own = qkv.split([layout.num_shared, qkv.shape[2] - layout.num_shared], 2)
    return torch.cat([_attend_shared(shared), _attend_own(shared, own, layout)], 1)


def finish(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of a residual block, token by token."""
    x = x + block.attn.out_proj(attended)
    return x + block.mlp(block.ln_2(x))


def _attend_shared(shared: Tensor) -> Tensor:
    """(3, B, P, H, D) -> (B, P, H * D)."""
    q, k, v = shared.transpose(2, 3)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(
        1, 2).flatten(2)


def _attend_own(shared: Tensor, own: Tensor, layout: Layout) -> Tensor:
    """(3, B, P, H, D) and (3, B, K * S, H, D) -> (B, K * S, H * D)."""
    texts, length = layout.num_texts, layout.num_own
    own = own.unflatten(2, (texts, length)).transpose(3, 4)     # (3, B, K, H, S, D)
    shared = shared[1:, :, None].transpose(3, 4).expand(-1, -1, texts, -1, -1, -1)
    k, v = torch.cat([shared, own[1:]], dim=4).flatten(1, 2)    # (B * K, H, P + S, D)
    visible = torch.ones(length, layout.num_shared + length, dtype=torch.bool,
                         device=own.device).tril(layout.num_shared)
    out = F.scaled_dot_product_attention(own[0].flatten(0, 1), k, v, visible)
    return out.transpose(1, 2).flatten(2).reshape(own.shape[1], texts * length, -1)
