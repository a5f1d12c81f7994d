"""Restrict placements to what a user allows."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UserValueError
from .grid import PlacementGrid
from .sample import boxes_tensor

# Pixels by which the edge of a box may differ from that of a pixel: float64.
ROUNDING = 1e-9


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
        forbidden: (H_bg, W_bg) bool, mask of the background that is true where no part
            of the box may lie.
        inside: Rule out boxes that leave the background, so that the best of those
            inside is found. ``keep_inside`` of decoding drops them afterwards: a map
            whose maximum lies outside may then have no box.
    """

    fixed_scale: int | None = None
    fixed_cell: tuple[int, int] | None = None
    allowed: Tensor | None = None
    forbidden_boxes: Tensor | Sequence | None = None
    forbidden: Tensor | None = None
    inside: bool = False

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
        if self.forbidden is not None:
            covers = self._covering_cells(grid, background_wh, object_wh)
            heat = heat.masked_fill(covers, -torch.inf)
        if self.inside:
            leaves = self._leaving_cells(grid, background_wh, object_wh)
            heat = heat.masked_fill(leaves, -torch.inf)
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
        mask = self._mask('allowed', background_wh, device)
        height, width = mask.shape
        rows, columns = (
            ((torch.arange(cells, device=device) + 0.5) * pixels / cells).long()
            for cells, pixels in zip(grid.size, (height, width), strict=True))
        return mask[rows][:, columns][None]

    def _mask(self, name: str, background_wh: Tensor, device) -> Tensor:
        """``allowed`` or ``forbidden`` as (H_bg, W_bg) bool."""
        mask = torch.as_tensor(getattr(self, name), device=device)
        sizes = background_wh.new_tensor(mask.shape[::-1])
        if mask.ndim != 2 or (background_wh != sizes).any():
            raise UserValueError(
                f'{name} must be a mask (rows, columns) of the background, which is '
                f'{background_wh[0].int().tolist()} pixels wide and high, got shape '
                f'{tuple(mask.shape)}.')
        return mask != 0

    def _covering_cells(self, grid: PlacementGrid, background_wh: Tensor,
                        object_wh: Tensor) -> Tensor:
        """(B, S, H, W) bool: cells whose box covers a pixel of ``forbidden``.

        Pixels of a box are counted by four values of a table of sums.
        """
        mask = self._mask('forbidden', background_wh, background_wh.device)
        sums = mask.new_zeros([side + 1 for side in mask.shape], dtype=torch.int32)
        sums[1:, 1:] = mask.int().cumsum(0).cumsum(1)
        edges = []
        for axis in (0, 1):
            starts, ends = _extents(grid, axis, background_wh, object_wh)
            edges += [side.clamp(0, mask.shape[1 - axis]).long() for side in (
                (starts + ROUNDING).floor(), (ends - ROUNDING).ceil())]
        left, right, top, bottom = edges

        def sums_at(y: Tensor, x: Tensor) -> Tensor:
            return sums[y[..., :, None], x[..., None, :]]
        return (sums_at(bottom, right) - sums_at(top, right)
                - sums_at(bottom, left) + sums_at(top, left)) > 0

    def _overlapping_cells(self, grid: PlacementGrid, background_wh: Tensor,
                           object_wh: Tensor) -> Tensor:
        """(B, S, H, W) bool: cells whose box overlaps a forbidden one.

        Boxes overlap where their extents along both axes do, so that S x W and S x H
        extents are compared instead of all boxes.
        """
        forbidden = boxes_tensor(self.forbidden_boxes, 'forbidden_boxes').to(
            background_wh.device)
        touched = []
        for axis in (0, 1):
            starts, ends = _extents(grid, axis, background_wh, object_wh)
            low = forbidden[:, axis]
            touched.append(((starts[..., None] < low + forbidden[:, 2 + axis])
                            & (low < ends[..., None])).float())
        # Over the M forbidden boxes: (B, S, H, M) with (B, S, W, M).
        return touched[1] @ touched[0].mT > 0

    @staticmethod
    def _leaving_cells(grid: PlacementGrid, background_wh: Tensor, object_wh: Tensor
                       ) -> Tensor:
        """(B, S, H, W) bool: cells whose box leaves the background."""
        leaves = []
        for axis, end in enumerate(background_wh.T[..., None, None]):
            starts, ends = _extents(grid, axis, background_wh, object_wh)
            leaves.append((starts < -ROUNDING) | (ends > end + ROUNDING))
        return leaves[1][..., :, None] | leaves[0][..., None, :]


def _extents(grid: PlacementGrid, axis: int, background_wh: Tensor, object_wh: Tensor
             ) -> tuple[Tensor, Tensor]:
    """(B, S, L) starts and ends along x (axis 0, L columns) or y (axis 1, L rows) of
    the boxes of all cells."""
    batch, length, device = len(background_wh), grid.size[1 - axis], object_wh.device
    cells = torch.zeros(grid.scales, length, 3, dtype=torch.int64, device=device)
    cells[..., 0] = torch.arange(grid.scales, device=device)[:, None]
    cells[..., 2 - axis] = torch.arange(length, device=device)
    count = grid.scales * length
    boxes = grid.boxes(cells.flatten(0, 1).repeat(batch, 1),
                       background_wh.repeat_interleave(count, 0),
                       object_wh.repeat_interleave(count, 0))
    boxes = boxes.view(batch, grid.scales, length, 4)
    return boxes[..., axis], boxes[..., axis] + boxes[..., 2 + axis]


def _check_index(name: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise UserValueError(
            f'{name} must be from 0 to {count - 1}, got {index}.')
