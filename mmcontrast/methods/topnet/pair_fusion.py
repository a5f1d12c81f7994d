"""Fuse the last maps of background and object with the unofficial transformer."""
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserValueError, did_you_mean

FUSIONS = ('reference', 'fixed')


class PairFusion(nn.Module):
    """Layers of attention and of an MLP over the whole flattened map.

    Source: github.com/bcmi/TopNet-Object-Placement (commit 9fef7d6), ``network.py``.
    ``fusion='reference'`` keeps what it computes, which its weights need: norms over
    the width of the map, and attention along the batch, position by position. An image
    alone then takes the value path only, and in a batch the images change each other's
    scores. ``fusion='fixed'``: norms over the channels, attention over the positions.

    Args:
        channels: Of the map.
        side: Its height and width.
        fusion: ``'reference'`` or ``'fixed'``.
        layers: Number of layers.
        heads: Of the attention.
        mlp_channels: Hidden channels of the MLP.
    """

    def __init__(self, channels: int = 1024, side: int = 8, fusion: str = 'reference',
                 layers: int = 4, heads: int = 8, mlp_channels: int = 128) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise UserValueError(
                f'fusion must be one of {FUSIONS}, got {fusion!r}'
                f'{did_you_mean(str(fusion), FUSIONS)}')
        self.layers = nn.ModuleList(
            PairFusionLayer(channels, side, fusion, heads, mlp_channels)
            for _ in range(layers))

    def forward(self, x: Tensor, mix_batch: bool = True) -> Tensor:
        """(B, C, side, side) -> the same; see :class:`PairFusionLayer`."""
        for layer in self.layers:
            x = layer(x, mix_batch)
        return x


class PairFusionLayer(nn.Module):
    """One layer of :class:`PairFusion`, with the same arguments."""

    def __init__(self, channels: int, side: int, fusion: str, heads: int,
                 mlp_channels: int) -> None:
        super().__init__()
        self.is_fixed = fusion == 'fixed'
        norm, cells = channels if self.is_fixed else side, channels * side ** 2
        self.norm1, self.norm2 = nn.LayerNorm(norm), nn.LayerNorm(norm)
        self.attention = nn.MultiheadAttention(
            channels, heads, batch_first=self.is_fixed)
        self.mlp = nn.Sequential(
            nn.Linear(cells, mlp_channels), nn.ReLU(),
            nn.Linear(mlp_channels, mlp_channels), nn.ReLU(),
            nn.Linear(mlp_channels, cells))

    def forward(self, x: Tensor, mix_batch: bool = True) -> Tensor:
        """Attend, then apply the MLP; both add to the map.

        Args:
            x: (B, C, side, side).
            mix_batch: ``'reference'`` only: whether the images of the batch attend to
                each other. If not, each gets what it gets alone.
        """
        attended = self.attend(self.tokens(x), mix_batch)
        x = x + attended.mT.unflatten(2, x.shape[2:])
        return x + self.mlp(self._norm(self.norm2, x).flatten(1)).view_as(x)

    def tokens(self, x: Tensor) -> Tensor:
        """(B, C, side, side) -> normalized (B, side * side, C)."""
        return self._norm(self.norm1, x).flatten(2).mT

    def attend(self, tokens: Tensor, mix_batch: bool = True) -> Tensor:
        """Attention over positions, or over the batch of each position."""
        if self.is_fixed or mix_batch:
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]
        # One key: its weight is 1, so that the value is all there is.
        start = 2 * self.attention.embed_dim
        values = F.linear(tokens, self.attention.in_proj_weight[start:],
                          self.attention.in_proj_bias[start:])
        return self.attention.out_proj(values)

    def _norm(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return norm(x.movedim(1, -1)).movedim(-1, 1) if self.is_fixed else norm(x)
