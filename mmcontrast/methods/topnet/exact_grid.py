"""Give the boxes of a grid the exact size or position that a user asks for."""
from collections.abc import Sequence

import torch
from torch import Tensor

from .grid import ROUNDING, PlacementGrid


class ExactGrid(PlacementGrid):
    """The cells of a grid, whose boxes have one exact size or are shifted.

    A bin stands for a range of sizes and a cell for a range of positions. Where the
    user fixes one of them, the box is the one asked for, not the middle of its range.
    A box of fixed size that leaves the background by at most half a cell is moved
    inside: its cell stands for that position, too, and at full size there is no other.

    Args:
        grid: The grid of the whole map.
        ratio: max(w / W, h / H) of all boxes, whatever their scale bin.
        shift_xy: By which boxes lie beside the centers of their cells, in pixels of the
            background. These boxes stay where they are asked for.
    """

    def __init__(self, grid: PlacementGrid, ratio: float | None = None,
                 shift_xy: Sequence[float] | None = None) -> None:
        super().__init__(grid.size, grid.scales, grid.binning)
        self.ratio, self.shift_xy = ratio, shift_xy

    @property
    def ratios(self) -> Tensor:
        if self.ratio is None:
            return super().ratios
        return torch.full((self.scales,), self.ratio, dtype=torch.float64)

    def boxes(self, cells: Tensor, background_wh, object_wh) -> Tensor:
        boxes = super().boxes(cells, background_wh, object_wh)
        if self.shift_xy is not None:
            return boxes + boxes.new_tensor([*self.shift_xy, 0, 0])
        return boxes if self.ratio is None else self._moved_inside(boxes, background_wh)

    def _moved_inside(self, boxes: Tensor, background_wh) -> Tensor:
        background = torch.as_tensor(
            background_wh, dtype=boxes.dtype, device=boxes.device)
        corners, sizes = boxes.split(2, 1)
        inside = torch.minimum(corners.clamp(min=0), background - sizes)
        half_cell = background / background.new_tensor(self.size[::-1]) / 2
        is_near = (corners - inside).abs() <= half_cell + ROUNDING
        return torch.cat([torch.where(is_near, inside, corners), sizes], 1)

    @classmethod
    def at_point(cls, grid: PlacementGrid, point_xy: Sequence[float],
                 cell: Sequence[int], background_wh: Sequence[float],
                 ratio: float | None = None) -> 'ExactGrid':
        """The grid in which a (row, column) has its center exactly at a point."""
        centers = [(index + 0.5) * side / cells for index, side, cells in zip(
            cell[::-1], background_wh, grid.size[::-1], strict=True)]
        return cls(grid, ratio, [at - center for at, center in zip(
            point_xy, centers, strict=True)])
