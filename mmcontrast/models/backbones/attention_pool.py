"""Pool a feature map with CLIP's attention, with an output for every cell."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS
from .loading import ClipLoadReport, load_tower
from .positions import FittedPositions


@MODELS.register_module()
class DenseAttentionPool(FittedPositions, BaseModule):
    """Multi-head attention over a map and its mean, with every token as a query.

    CLIP uses the output of the mean token only; DenseCLIP (Rao et al., CVPR 2022,
    section 3.1) reads the other tokens as a map in the space of CLIP's texts. In CLIP's
    training only the mean was a query, so the attention of the cells is not localized;
    with ``local='value'`` each cell gives its own value instead, without attention
    (MaskCLIP; Zhou, Loy and Dai, ECCV 2022, section 3.2).

    Args:
        in_channels: C of the map.
        embed_dims: D, width of the text embeddings that the outputs are matched with.
        num_heads: None for heads of 64 channels, CLIP's choice.
        grid_size: n; the position table covers n x n cells. 7 is CLIP's for images of
            224 pixels at stride 32.
        pos_mode: How the table is fitted to H x W: 'resize' (segmentation) or 'crop',
            the top left corner (detection).
        local: Source of the map: 'attention' or 'value'.
    """

    def __init__(self, in_channels: int, embed_dims: int, num_heads: int | None = None,
                 grid_size: int = 7, pos_mode: str = 'resize',
                 local: str = 'attention', init_cfg: dict | None = None):
        super().__init__(pos_mode, init_cfg=init_cfg)
        if local not in ('attention', 'value'):
            raise ValueError(
                "local must be 'attention' (each cell attends to all) or 'value' "
                f'(each cell by itself), got {local!r}.')
        self.local = local
        self.num_heads = num_heads or max(1, in_channels // 64)
        if in_channels % self.num_heads:
            raise ValueError(
                f'DenseAttentionPool: in_channels={in_channels} is not a multiple '
                f'of num_heads={self.num_heads}.')
        self.embed_dims = embed_dims
        std = in_channels ** -0.5
        self.positional_embedding = nn.Parameter(
            std * torch.randn(grid_size ** 2 + 1, in_channels))
        self.q_proj = nn.Linear(in_channels, in_channels)
        self.k_proj = nn.Linear(in_channels, in_channels)
        self.v_proj = nn.Linear(in_channels, in_channels)
        self.c_proj = nn.Linear(in_channels, embed_dims)
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(projection.weight, std=std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the pair ``global`` (B, D) and ``local`` (B, D, H, W)."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).mT
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        tokens = tokens + self.positions(height, width).to(tokens.dtype)
        queries = tokens if self.local == 'attention' else tokens[:, :1]
        values = self.v_proj(tokens)
        q, k, v = map(self._heads, (self.q_proj(queries), self.k_proj(tokens), values))
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, 1 + HW, C / heads)
        out = out.transpose(1, 2).flatten(2)
        if self.local == 'value':
            out = torch.cat([out, values[:, 1:]], 1)
        out = self.c_proj(out)
        return out[:, 0], out[:, 1:].mT.unflatten(2, (height, width))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def load_clip(self, state: dict[str, Tensor]) -> ClipLoadReport:
        """Take the pool of a CLIP ResNet; see :func:`~.loading.load_tower`."""
        return load_tower(self, state, prefix='visual.attnpool.')
