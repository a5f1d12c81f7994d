"""Crop regions of interest (RoIs) from a feature pyramid, all levels in one call."""
import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class PyramidRoICrop(nn.Module):
    """RoI crops with one bilinear sample in the middle of each bin.

    Feature n of a map lies at coordinate n, without the half pixel of ``RoIAlign``.
    Left of and above a map the first two cells are extrapolated, right of and below it
    the last cell is repeated. For boxes inside the image that is
    ``roi_align(aligned=True, sampling_ratio=1)`` of boxes shifted by half a stride;
    that function returns other values left of the map and needs a call a level.

    The cells of all levels are the rows of one table, and a crop is an
    ``embedding_bag`` of four weighted rows a bin: one call for any number of levels,
    without synchronization, and with a deterministic gradient.

    Source: DITO (arXiv 2310.00161), the released code. The interface is that of mmdet's
    ``SingleRoIExtractor``.

    Args:
        output_size: Rows and columns s of a crop.
        featmap_strides: Stride of each level, finest first; each twice the one before.
        base_size: A box of this side, in pixels, is cropped from ``base_level``.
        base_level: Binary logarithm of a stride.
    """

    def __init__(self, output_size: int = 7,
                 featmap_strides: Sequence[int] = (4, 8, 16, 32),
                 base_size: int = 224, base_level: int = 4):
        super().__init__()
        self.output_size = output_size
        self.featmap_strides = tuple(featmap_strides)
        self.base_size, self.base_level = base_size, base_level
        first = self.featmap_strides[0] if self.featmap_strides else 0
        if not first or self.featmap_strides != tuple(
                first << i for i in range(len(self.featmap_strides))):
            raise ValueError('PyramidRoICrop: each of featmap_strides must be twice '
                             'the one before, as in (4, 8, 16), got '
                             f'{featmap_strides}.')
        self.first_level = first.bit_length() - 1

    @property
    def num_inputs(self) -> int:
        """Number of levels."""
        return len(self.featmap_strides)

    def forward(self, feats: Sequence[Tensor], rois: Tensor,
                levels: Tensor | None = None) -> Tensor:
        """Crops of each RoI.

        Args:
            feats: (B, C, H_l, W_l) a level.
            rois: (N, 5): image of the batch, then x1, y1, x2, y2 in pixels. No gradient
                reaches them.
            levels: (N,) int64, index of the map to crop each RoI from; by default
                :meth:`map_levels`.

        Returns:
            (N, C, s, s), in the memory format ``channels_last``.
        """
        cells, index, weight = self._samples(feats, rois, levels)
        size = self.output_size
        crops = _weighted_rows(cells, index.flatten(0, 2), weight.flatten(0, 2))
        return crops.unflatten(0, (len(rois), size, size)).permute(0, 3, 1, 2)

    def pooled(self, feats: Sequence[Tensor], rois: Tensor,
               levels: Tensor | None = None) -> Tensor:
        """Mean of each crop, (N, C); the crops themselves are never stored."""
        cells, index, weight = self._samples(feats, rois, levels)
        return _weighted_rows(cells, index.flatten(1),
                              weight.flatten(1) / self.output_size ** 2)

    def map_levels(self, rois: Tensor) -> Tensor:
        """Index of the map for each RoI, by its size: (N, 5) -> (N,) int64.

        The level is floor(log2(sqrt(w * h) / base_size)) + base_level, limited to those
        that exist. A box without an area goes to the finest one.
        """
        width, height = (rois[:, 3:5] - rois[:, 1:3]).clamp(min=0).unbind(1)
        level = torch.log2((width * height).sqrt() / self.base_size).floor()
        index = level + (self.base_level - self.first_level)
        return index.clamp(0, self.num_inputs - 1).long().clamp(0, self.num_inputs - 1)

    def _samples(self, feats: Sequence[Tensor], rois: Tensor, levels: Tensor | None
                 ) -> tuple[Tensor, Tensor, Tensor]:
        """Table of cells, and rows and weights of it: (N, s, s, 4)."""
        if len(feats) != self.num_inputs:
            raise ValueError(
                f'PyramidRoICrop has featmap_strides {self.featmap_strides}, so it '
                f'needs {self.num_inputs} maps, got {len(feats)}.')
        rois = rois.detach().float()
        levels = self.map_levels(rois) if levels is None else levels
        shapes = tuple(tuple(x.shape[-2:]) for x in feats)
        table = _level_table(shapes, self.featmap_strides, len(feats[0]), rois.device)
        stride, height, width, start = table[:, levels].unsqueeze(-1)     # (N, 1) each
        size = self.output_size
        y0, y1, dy = _bilinear(rois[:, 2:3], rois[:, 4:5], stride, height, size)
        x0, x1, dx = _bilinear(rois[:, 1:2], rois[:, 3:4], stride, width, size)
        first = (start + rois[:, :1].long() * height * width)[:, :, None]
        width = width[:, :, None]
        rows = [first + y[:, :, None] * width + x[:, None]
                for y in (y0, y1) for x in (x0, x1)]
        weights = [wy[:, :, None] * wx[:, None]
                   for wy in (1 - dy, dy) for wx in (1 - dx, dx)]
        cells = torch.cat([x.permute(0, 2, 3, 1).flatten(0, 2) for x in feats])
        return cells, torch.stack(rows, -1), torch.stack(weights, -1)


def _bilinear(start: Tensor, end: Tensor, stride: Tensor, length: Tensor, size: int
              ) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells that each bin of an axis reads, and the weight of the second.

    Args:
        start, end: (N, 1) sides of boxes in pixels.
        stride, length: (N, 1) of the map; its length in cells.

    Returns:
        Three (N, size) tensors.
    """
    bins = torch.arange(size, device=start.device) + 0.5
    place = start / stride + bins * ((end - start) / stride) / size
    last = length - 1
    # Limited again as integers: the cell of a NaN is any number.
    first = torch.minimum(place.floor().clamp(min=0).long().clamp(min=0), last)
    # Below 0 left of the map, where it extrapolates. At the last cell it is of no
    # consequence, but a large one would cost digits.
    weight = (place - first).clamp(max=1)
    return first, torch.minimum(first + 1, last), weight


def _weighted_rows(cells: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """(M, K) rows of ``cells`` (R, C), weighted and summed over K: (M, C)."""
    return F.embedding_bag(index, cells, mode='sum',
                           per_sample_weights=weight.to(cells.dtype))


@functools.lru_cache(maxsize=64)
def _level_table(shapes: tuple, strides: tuple, batch: int, device: torch.device
                 ) -> Tensor:
    """(4, L) int64: stride, height, width and first row of each level.

    Kept, as making it copies to the device; not an inference tensor, as training may
    meet it later.
    """
    starts = [0]
    for height, width in shapes[:-1]:
        starts.append(starts[-1] + batch * height * width)
    with torch.inference_mode(False):
        return torch.tensor([strides, *zip(*shapes, strict=True), starts],
                            device=device)
