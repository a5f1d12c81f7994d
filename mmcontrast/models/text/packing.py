"""Texts that begin alike in a causal transformer: the beginning once, no padding.

With a causal mask the start token and the contexts never see what follows, so they
are the same for all K texts; and what stands after an end token changes nothing. A
batch is one row of tokens, (B, P + T, C): P shared ones, then all T own tokens of the
texts, one text after the other. Everything but the attention works token by token.
"""
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class PackedTexts:
    """Where the own tokens of K texts stand: all but the start token and padding.

    Attributes:
        ids: (T, ) own tokens.
        places: (T, ) place of each in its text, from 0.
        cells: (T, ) its cell in the table of K texts by S places, row by row.
        table: (K * S, ) which own token fills each cell; padding repeats a neighbor.
        ends: (K, ) which own token ends each text.
    """

    ids: Tensor
    places: Tensor
    cells: Tensor
    table: Tensor
    ends: Tensor

    @classmethod
    @torch.inference_mode(False)            # kept, and used in training later
    def of(cls, tokens: Tensor) -> 'PackedTexts':
        """Pack (K, L) ids from :func:`tokenize`; waits for a GPU that holds them."""
        ends = tokens.argmax(1) - 1         # the end token has the highest id
        own = tokens[:, 1:int(ends.max()) + 2]
        valid = torch.arange(own.shape[1], device=tokens.device) <= ends[:, None]
        cells = valid.flatten().nonzero()[:, 0]
        return cls(
            ids=own[valid], places=cells % own.shape[1], cells=cells,
            table=(valid.flatten().cumsum(0) - 1).clamp(min=0),
            ends=(ends + 1).cumsum(0) - 1)

    def to(self, device: torch.device) -> 'PackedTexts':
        """The same on another device."""
        return PackedTexts(**{field.name: getattr(self, field.name).to(device)
                              for field in fields(self)})

    @property
    def num_texts(self) -> int:
        """K."""
        return len(self.ends)

    @property
    def longest(self) -> int:
        """S, own tokens of the longest text."""
        return len(self.table) // len(self.ends)


def attend(block: nn.Module, x: Tensor, texts: PackedTexts) -> Tensor:
    """Attention of a residual block: shared tokens among themselves, the own tokens of
    a text to the shared ones and to their predecessors.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        x: (B, P + T, C) tokens.

    Returns:
        Like ``x``, before the output projection.
    """
    attn = block.attn
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    num_own = len(texts.ids)
    shared, own = qkv.split([qkv.shape[1] - num_own, num_own], dim=1)
    shared = shared.unflatten(2, (3, attn.num_heads, -1)).movedim(2, 0)
    own = own.index_select(1, texts.table).unflatten(2, (3, attn.num_heads, -1))
    own = own.movedim(2, 0).unflatten(2, (texts.num_texts, texts.longest))
    attended = _attend_own(shared, own).flatten(1, 2).index_select(1, texts.cells)
    return torch.cat([_attend_shared(shared), attended], dim=1).flatten(2)


def finish(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of a residual block, token by token."""
    x = x + block.attn.out_proj(attended)
    return x + block.mlp(block.ln_2(x))


def _attend_shared(shared: Tensor) -> Tensor:
    """(3, B, P, H, D) -> (B, P, H, D)."""
    q, k, v = shared.transpose(2, 3)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def _attend_own(shared: Tensor, own: Tensor) -> Tensor:
    """(3, B, P, H, D) and (3, B, K, S, H, D) -> (B, K, S, H, D)."""
    _, batch, num_texts, longest = own.shape[:4]
    num_shared = shared.shape[2]
    own = own.transpose(3, 4)                                   # (3, B, K, H, S, D)
    shared = shared[1:, :, None].transpose(3, 4).expand(-1, -1, num_texts, -1, -1, -1)
    k, v = torch.cat([shared, own[1:]], dim=4).flatten(1, 2)    # (B * K, H, P + S, D)
    visible = torch.ones(longest, num_shared + longest, dtype=torch.bool,
                         device=own.device).tril(num_shared)
    attended = F.scaled_dot_product_attention(own[0].flatten(0, 1), k, v, visible)
    return attended.transpose(1, 2).unflatten(0, (batch, num_texts))
