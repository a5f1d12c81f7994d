"""Train the cells of CLIP's feature map on mosaics of images."""
from collections.abc import Sequence

import torch
from open_clip.model import CLIP as OpenCLIP
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.backbones.attention_pool import DenseAttentionPool
from ...models.backbones.positions import square_side


class AttentionPoolWithCells(DenseAttentionPool):
    """CLIP's attention pool that also gives the embedding of each cell."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), the output of the mean token."""
        return super().forward(x)[0]

    def cells(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W), the value of each cell."""
        return super().forward(x)[1]


def add_dense_pool(clip: OpenCLIP, mosaics: Sequence[int]) -> None:
    """Replace the pool of a ResNet by one with cells; the keys stay the same.

    Raises:
        ValueError: If the image tower is no ResNet or a side is below 1.
    """
    if not mosaics or min(mosaics) < 1:
        raise ValueError(f'mosaics must be sides of 1 or more, got {tuple(mosaics)}.')
    tower = clip.visual
    if not isinstance(tower, ModifiedResNet):
        raise ValueError(
            f'mosaics={tuple(mosaics)} needs the attention pool of a ResNet; the image '
            f'tower is a {type(tower).__name__}. Set mosaics=(1,).')
    pool = tower.attnpool
    dense = AttentionPoolWithCells(
        pool.v_proj.in_features, pool.c_proj.out_features, pool.num_heads,
        grid_size=square_side(pool.positional_embedding), local='value')
    dense.load_state_dict(pool.state_dict())
    tower.attnpool = dense


def encode_cells(tower: nn.Module, images: Tensor, side: int) -> Tensor:
    """Embed each image by one of its cells, in a mosaic with others.

    ``side`` x ``side`` images become one, so that a cell has neighbors as in a large
    image, which must not influence it. Its value is its embedding, without attention,
    as in ``local='value'`` of :class:`DenseAttentionPool`.

    Args:
        tower: With a :class:`AttentionPoolWithCells`.
        images: (N, 3, H, W) normalized; ``side`` squared divides N.
        side: Images in a row of the mosaic.

    Returns:
        (N, D) normalized embeddings.

    Raises:
        ValueError: If the batch cannot be divided into mosaics.
    """
    count = len(images)
    if count % side ** 2:
        raise ValueError(
            f'{count} images cannot be laid out in mosaics of {side} x {side}; set a '
            f'batch size that is a multiple of {side ** 2}.')
    x = tower.stem(tiled(images, side).contiguous(memory_format=torch.channels_last))
    for stage in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
        x = stage(x)
    cells = untiled(tower.attnpool.cells(x), side).flatten(2)  # (N, D, cells)
    chosen = torch.randint(cells.shape[2], (count, 1, 1)).to(cells.device)
    cells = cells.gather(2, chosen.expand(-1, cells.shape[1], -1))[:, :, 0]
    return F.normalize(cells, dim=-1)


def tiled(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N / side^2, C, side H, side W), row by row."""
    x = images.unflatten(0, (-1, side, side))  # (M, rows, columns, C, H, W)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def untiled(maps: Tensor, side: int) -> Tensor:
    """Cut maps of mosaics, of any stride, back into those of the single images."""
    x = maps.unflatten(2, (side, -1)).unflatten(4, (side, -1))  # (M, C, r, h, c, w)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
