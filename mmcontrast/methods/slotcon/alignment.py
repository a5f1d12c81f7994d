"""Find where two views overlap, and resample their maps over that region."""
from typing import NamedTuple

import torch
from torch import Tensor

from ...structures import ViewBatch


class Overlap(NamedTuple):
    """The part of N views that their partners show too.

    Attributes:
        boxes: (N, 4) left, top, right, bottom in units of the view as the network sees
            it, in [0, 1]; left >= right or top >= bottom if the views are disjoint.
        flipped: (N,) bool, whether the view is mirrored.
    """

    boxes: Tensor
    flipped: Tensor

    @property
    def exists(self) -> Tensor:
        """(N,) bool: whether the region has an area."""
        left, top, right, bottom = self.boxes.unbind(1)
        return (right > left) & (bottom > top)


def overlaps(view_1: ViewBatch, view_2: ViewBatch) -> tuple[Overlap, Overlap]:
    """The common region of two views, as each of them sees it.

    Source: SlotCon (NeurIPS 2022), released code: the box of a mirrored view is
    mirrored too and keeps left < right, unlike PixPro's, which swaps the two.
    """
    left_top = torch.maximum(view_1.boxes_xyxy[:, :2], view_2.boxes_xyxy[:, :2])
    right_bottom = torch.minimum(view_1.boxes_xyxy[:, 2:], view_2.boxes_xyxy[:, 2:])
    return (_in_view(left_top, right_bottom, view_1),
            _in_view(left_top, right_bottom, view_2))


def _in_view(left_top: Tensor, right_bottom: Tensor, view: ViewBatch) -> Overlap:
    origin, end = view.boxes_xyxy[:, :2], view.boxes_xyxy[:, 2:]
    size = end - origin
    boxes = torch.cat([(left_top - origin) / size, (right_bottom - origin) / size], 1)
    mirrored = torch.stack(
        [1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
    return Overlap(torch.where(view.flipped[:, None], mirrored, boxes), view.flipped)


class Aligner:
    """Resample maps of one view over its overlap, upright, to their own size.

    After it the maps of two views show the same region, cell by cell. Equal to
    RoIAlign (aligned, adaptive sampling, output as large as the map) followed by
    undoing the flip: as the box never exceeds the map, a cell is one bilinear sample
    at its center, clamped at the border. That is linear and separable, so it is two
    small matrix products with weights that serve both branches, and so is its gradient.

    Disjoint views give zeros (RoIAlign does, too, except for some boxes that crash it).

    Source: SlotCon (NeurIPS 2022), the inverse augmentation of section 3.1.

    Args:
        overlap: The region, N views.
        rows, cols: Size of the maps.
    """

    def __init__(self, overlap: Overlap, rows: int, cols: int):
        left, top, right, bottom = overlap.boxes.unbind(1)
        self.across = _bilinear_weights(left, right, cols, overlap.flipped)
        self.down = (_bilinear_weights(top, bottom, rows)
                     * overlap.exists[:, None, None])

    def __call__(self, maps: Tensor) -> Tensor:
        """(N, H, W, K) maps of the view -> the same shape over its overlap."""
        with torch.autocast(maps.device.type, enabled=False):
            # n: image, y, x: cell of the map, i, j: cell of the overlap, k: slot
            down, across = self.down.to(maps.dtype), self.across.to(maps.dtype)
            maps = (down @ maps.flatten(2)).view_as(maps)         # niy, ny(xk) -> nixk
            return across[:, None] @ maps                         # n1jx, nixk -> nijk


def _bilinear_weights(start: Tensor, end: Tensor, cells: int,
                      flipped: Tensor | None = None) -> Tensor:
    """(N, cells, cells): share of each cell of the map in each sample.

    Args:
        start, end: (N,) edges of the region, 0 to 1 over the map.
        flipped: (N,) whether the samples run from the end to the start.
    """
    steps = torch.arange(cells, device=start.device) + 0.5
    if flipped is not None:
        steps = torch.where(flipped[:, None], cells - steps, steps)
    # In cells, from the center of the first one.
    at = start[:, None] * cells + steps * (end - start)[:, None] - 0.5
    distance = at.clamp(0, cells - 1)[:, :, None] - torch.arange(
        cells, device=start.device)
    return (1 - distance.abs()).clamp(min=0)
