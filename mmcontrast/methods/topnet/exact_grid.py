"""Give the boxes of a grid the exact size or position that a user asks for."""
from collections.abc import Sequence

import torch
from torch import Tensor

from .grid import PlacementGrid


class ExactGrid(PlacementGrid):
    """The cells of a grid, whose boxes have one exact size or are shifted.

    A bin stands for a range of sizes and a cell for a range of positions. Where the
    user fixes one of them, the box is the one asked for, not the middle of its range.

    Args:
        grid: The grid of the whole map.
        ratio: max(w / W, h / H) of all boxes. The grid then has one scale.
        shift_xy: By which boxes lie beside the centers of their cells, in pixels of the
            background.
    """

    def __init__(self, grid: PlacementGrid, ratio: float | None = None,
                 shift_xy: Sequence[float] = (0.0, 0.0)) -> None:
        super().__init__(
            grid.size, grid.scales if ratio is None else 1, grid.binning)
        self.ratio, self.shift_xy = ratio, tuple(shift_xy)

    @property
    def ratios(self) -> Tensor:
        if self.ratio is None:
            return super().ratios
        return torch.tensor([self.ratio], dtype=torch.float64)

    def boxes(self, cells: Tensor, background_wh, object_wh) -> Tensor:
        boxes = super().boxes(cells, background_wh, object_wh)
        return boxes + boxes.new_tensor([*self.shift_xy, 0, 0])

    @classmethod
    def at_point(cls, grid: PlacementGrid, point_xy: Sequence[float],
                 cell: Sequence[int], background_wh: Sequence[float],
                 ratio: float | None = None) -> 'ExactGrid':
        """The grid in which a (row, column) has its center exactly at a point."""
        centers = [(index + 0.5) * side / cells for index, side, cells in zip(
            cell[::-1], background_wh, grid.size[::-1], strict=True)]
        return cls(grid, ratio, [at - center for at, center in zip(
            point_xy, centers, strict=True)])
