"""Restrict placements to what a user allows."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UserValueError
from .grid import PlacementGrid
from .sample import boxes_tensor


@dataclass(frozen=True)
class Constraints:
    """What a user knows about where an object belongs.

    Attributes:
        fixed_scale: Scale bin: where does the object belong at this size?
        fixed_cell: (row, column): at which size does it belong there?
            :meth:`at_point` takes a point of the background.
        allowed: (H_bg, W_bg) bool, mask of the background that is true where the center
            of the box may lie.
        forbidden_boxes: (M, 4) boxes (x, y, w, h) in pixels of the background that the
            box must not overlap, such as those of objects that stand there. Boxes that
            only touch do not overlap.
    """

    fixed_scale: int | None = None
    fixed_cell: tuple[int, int] | None = None
    allowed: Tensor | None = None
    forbidden_boxes: Tensor | Sequence | None = None

    @classmethod
    def at_point(cls, point_xy: Sequence[float], background_wh: Sequence[float],
                 grid: PlacementGrid, **others) -> 'Constraints':
        """Fix the cell that holds a point, in pixels of the background.

        Raises:
            ValueError: If the point lies outside of the background.
        """
        (x, y), (width, height) = point_xy, background_wh
        if not (0 <= x <= width and 0 <= y <= height):
            raise UserValueError(
                f'The point ({x}, {y}) lies outside of the background of '
                f'{width} x {height} pixels.')
        _, row, column = grid.cells(
            torch.tensor([[x, y, 0., 0.]], dtype=torch.float64), background_wh
        )[0].tolist()
        return cls(fixed_cell=(row, column), **others)

    def apply(self, heat: Tensor, grid: PlacementGrid, background_wh: Tensor,
              object_wh: Tensor) -> tuple[Tensor, Tensor]:
        """Set ruled-out cells to -inf and cut the map down to what is not fixed.

        Args:
            heat: (B, S, H, W) scores.
            grid: That of the maps.
            background_wh, object_wh: (B, 2) float64 widths and heights.

        Returns:
            (B, S', H', W') scores, and the (3,) int64 cell that is first in them.

        Raises:
            ValueError: If a cell or scale does not exist, or a mask has another size
                than the background.
        """
        if self.allowed is not None:
            is_allowed = self._allowed_cells(grid, background_wh, heat.device)
            heat = heat.masked_fill(~is_allowed[:, None], -torch.inf)
        if self.forbidden_boxes is not None:
            overlaps = self._overlapping_cells(grid, background_wh, object_wh)
            heat = heat.masked_fill(overlaps, -torch.inf)
        row, column = self.fixed_cell or (None, None)
        first = []
        for axis, (name, index) in enumerate((
                ('fixed_scale', self.fixed_scale), ('row of fixed_cell', row),
                ('column of fixed_cell', column)), start=1):
            first.append(index or 0)
            if index is not None:
                _check_index(name, index, heat.shape[axis])
                heat = heat.narrow(axis, index, 1)
        return heat, torch.tensor(first, device=heat.device)

    def _allowed_cells(self, grid: PlacementGrid, background_wh: Tensor, device
                       ) -> Tensor:
        """(1, H, W) bool: cells whose center lies on a true pixel of the mask."""
        mask = torch.as_tensor(self.allowed, device=device)
        height, width = mask.shape[-2:] if mask.ndim == 2 else (0, 0)
        if mask.ndim != 2 or (background_wh != background_wh.new_tensor(
                [width, height])).any():
            raise UserValueError(
                'allowed must be a mask (rows, columns) of the background, which is '
                f'{background_wh[0].int().tolist()} pixels wide and high, got shape '
                f'{tuple(mask.shape)}.')
        rows, columns = (
            ((torch.arange(cells, device=device) + 0.5) * pixels / cells).long()
            for cells, pixels in zip(grid.size, (height, width), strict=True))
        return (mask[rows][:, columns] != 0)[None]

    def _overlapping_cells(self, grid: PlacementGrid, background_wh: Tensor,
                           object_wh: Tensor) -> Tensor:
        """(B, S, H, W) bool: cells whose box overlaps a forbidden one.

        Boxes overlap where their extents along both axes do, so that S x W and S x H
        extents are compared instead of all boxes.
        """
        device = background_wh.device
        forbidden = boxes_tensor(self.forbidden_boxes, 'forbidden_boxes').to(device)
        scales, rows, columns = grid.shape
        along_x = _line_of_cells(scales, columns, 2, device)
        along_y = _line_of_cells(scales, rows, 1, device)
        touched = []
        for axis, cells, length in ((0, along_x, columns), (1, along_y, rows)):
            starts, sizes = _extents(grid, cells, axis, background_wh, object_wh)
            ends = (starts + sizes)[..., None]
            low = forbidden[:, axis]
            overlap = (starts[..., None] < low + forbidden[:, 2 + axis]) & (low < ends)
            touched.append(overlap.unflatten(1, (scales, length)).float())
        # Over the M forbidden boxes: (B, S, H, M) with (B, S, W, M).
        return touched[1] @ touched[0].mT > 0


def _line_of_cells(scales: int, length: int, axis: int, device) -> Tensor:
    """(S * length, 3) cells of the first column (axis 1) or row (axis 2)."""
    cells = torch.zeros(scales, length, 3, dtype=torch.int64, device=device)
    cells[..., 0] = torch.arange(scales, device=device)[:, None]
    cells[..., axis] = torch.arange(length, device=device)
    return cells.flatten(0, 1)


def _extents(grid: PlacementGrid, cells: Tensor, axis: int, background_wh: Tensor,
             object_wh: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N) starts and lengths along x (axis 0) or y (axis 1) of the cells' boxes."""
    batch, count = len(background_wh), len(cells)
    boxes = grid.boxes(cells.repeat(batch, 1),
                       background_wh.repeat_interleave(count, 0),
                       object_wh.repeat_interleave(count, 0)).view(batch, count, 4)
    return boxes[..., axis], boxes[..., 2 + axis]


def _check_index(name: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise UserValueError(
            f'{name} must be from 0 to {count - 1}, got {index}.')
