"""Run a causal transformer over texts with a common prefix, without padding.

With a causal mask the start token and the contexts do not depend on what follows, so
they are the same for all K texts; and nothing depends on what follows an end token. A
batch is one row of tokens, (B, P + T, C): P tokens of the prefix, then all T tokens of
the suffixes, one text after the other. Everything but the attention works token by
token.
"""
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class PackedTexts:
    """The suffixes of K texts: all tokens but the start token and padding.

    Attributes:
        ids: (T, ) token ids.
        positions: (T, ) position of each token in its suffix, from 0.
        cells: (T, ) index of each token in the padded (K, S) table, flattened.
        table: (K * S, ) index of the token in each cell; padding repeats a neighbor.
        ends: (K, ) index of the end token of each text.
    """

    ids: Tensor
    positions: Tensor
    cells: Tensor
    table: Tensor
    ends: Tensor

    @classmethod
    @torch.inference_mode(False)            # cached, and used in training later
    def of(cls, tokens: Tensor) -> 'PackedTexts':
        """Pack (K, L) ids from :func:`tokenize`; synchronizes with their device."""
        ends = tokens.argmax(1) - 1         # the end token has the highest id
        suffixes = tokens[:, 1:int(ends.max()) + 2]
        valid = torch.arange(suffixes.shape[1], device=tokens.device) <= ends[:, None]
        cells = valid.flatten().nonzero()[:, 0]
        return cls(
            ids=suffixes[valid], positions=cells % suffixes.shape[1], cells=cells,
            table=(valid.flatten().cumsum(0) - 1).clamp(min=0),
            ends=(ends + 1).cumsum(0) - 1)

    def to(self, device: torch.device) -> 'PackedTexts':
        """A copy on another device."""
        return PackedTexts(**{field.name: getattr(self, field.name).to(device)
                              for field in fields(self)})

    @property
    def num_texts(self) -> int:
        """K."""
        return len(self.ends)

    @property
    def longest(self) -> int:
        """S, tokens of the longest suffix."""
        return len(self.table) // len(self.ends)


def packed_attention(block: nn.Module, x: Tensor, texts: PackedTexts) -> Tensor:
    """Causal attention of a residual block over packed texts.

    The prefix attends to itself, the suffix of each text to the prefix and to itself.

    Args:
        block: open_clip's ``ResidualAttentionBlock``.
        x: (B, P + T, C) tokens.

    Returns:
        Like ``x``, before the output projection.
    """
    attn = block.attn
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    num_own = len(texts.ids)
    prefix, suffix = qkv.split([qkv.shape[1] - num_own, num_own], dim=1)
    prefix = prefix.unflatten(2, (3, attn.num_heads, -1)).movedim(2, 0)
    suffix = suffix.index_select(1, texts.table).unflatten(2, (3, attn.num_heads, -1))
    suffix = suffix.movedim(2, 0).unflatten(2, (texts.num_texts, texts.longest))
    attended = _attend_suffix(prefix, suffix).flatten(1, 2).index_select(1, texts.cells)
    return torch.cat([_attend_prefix(prefix), attended], dim=1).flatten(2)


def finish_block(block: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
    """Output projection and MLP of a residual block, token by token."""
    x = x + block.attn.out_proj(attended)
    return x + block.mlp(block.ln_2(x))


def _attend_prefix(prefix: Tensor) -> Tensor:
    """(3, B, P, H, D) -> (B, P, H, D)."""
    q, k, v = prefix.transpose(2, 3)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def _attend_suffix(prefix: Tensor, suffix: Tensor) -> Tensor:
    """(3, B, P, H, D) and (3, B, K, S, H, D) -> (B, K, S, H, D)."""
    _, batch, num_texts, longest = suffix.shape[:4]
    length = prefix.shape[2]
    suffix = suffix.transpose(3, 4)                             # (3, B, K, H, S, D)
    prefix = prefix[1:, :, None].transpose(3, 4).expand(-1, -1, num_texts, -1, -1, -1)
    k, v = torch.cat([prefix, suffix[1:]], dim=4).flatten(1, 2)  # (B * K, H, P + S, D)
    visible = torch.ones(longest, length + longest, dtype=torch.bool,
                         device=suffix.device).tril(length)
    attended = F.scaled_dot_product_attention(suffix[0].flatten(0, 1), k, v, visible)
    return attended.transpose(1, 2).unflatten(0, (batch, num_texts))
