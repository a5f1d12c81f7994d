"""Build transformer blocks with CLIP's key names and fused attention."""
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn

from ...errors import did_you_mean


def quick_gelu_(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), OpenAI's GELU, keeping one tensor for the backward."""
    return F.silu(1.702 * x) / 1.702


ACTIVATIONS: dict[str, Callable] = {
    'gelu': F.gelu, 'gelu_tanh': partial(F.gelu, approximate='tanh'),
    'quick_gelu': quick_gelu_}


class TransformerBlock(nn.Module):
    """Pre-norm block with CLIP's key names and drop path on both branches.

    Args:
        width: C.
        heads: Attention heads.
        mlp_ratio: Hidden channels of the MLP over C.
        drop_path: Probability that a branch is left out for a sample.
        activation: Of the MLP, a key of :data:`ACTIVATIONS`.
        norm_eps: Of both layer norms.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0,
                 drop_path: float = 0.0, activation: str = 'gelu',
                 norm_eps: float = 1e-5):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, norm_eps)
        self.attn = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width, norm_eps)
        self.mlp = MLP(width, int(width * mlp_ratio), activation)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, windows: Sequence[tuple[int, int]] | None = None
                ) -> Tensor:
        """(B, T, C) -> the same; ``windows`` as in :class:`SelfAttention`."""
        x = x + self.drop_path(self.attn(self.ln_1(x), windows))
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class SelfAttention(nn.Module):
    """``nn.MultiheadAttention``'s keys, always through fused attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f'width={width} is not a multiple of heads={heads}.')
        self.heads = heads
        self.in_proj_weight = nn.Parameter(
            width ** -0.5 * torch.randn(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, windows: Sequence[tuple[int, int]] | None = None
                ) -> Tensor:
        """Attend among all tokens, or among those of each window.

        Args:
            x: (B, T, C).
            windows: ``(count, length)`` of runs of equal windows that the T tokens
                consist of, in order. None: one window of all tokens.
        """
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        if windows is None:
            return self.out_proj(self._attend(qkv))
        runs = qkv.split([count * length for count, length in windows], 1)
        out = [self._attend(run.reshape(-1, length, run.shape[2])).reshape(
                   len(x), run.shape[1], -1)
               for run, (_, length) in zip(runs, windows, strict=True)]
        return self.out_proj(torch.cat(out, 1) if len(out) > 1 else out[0])

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, T, 3 C) -> (B, T, C)."""
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).flatten(2)


class MLP(nn.Module):
    """CLIP's two-layer perceptron."""

    def __init__(self, width: int, hidden: int, activation: str = 'gelu'):
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'activation must be one of {tuple(ACTIVATIONS)}, got {activation!r}'
                f'{did_you_mean(activation, ACTIVATIONS)}')
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))
