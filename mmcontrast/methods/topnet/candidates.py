"""Find the cells of heat maps whose boxes meet constraints."""
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...errors import UserValueError
from .constraints import Constraints
from .grid import ROUNDING, PlacementGrid


class Regions:
    """The regions of constraints in a background, ready to look up.

    Args:
        constraints: Of the user.
        background_wh: (B, 2) float64 widths and heights, on the device of the maps.

    Attributes:
        avoid: (M, 4) boxes.
        sums: (H + 1, W + 1) int32, how many pixels above and to the left are to avoid,
            or None: the pixels of a box are counted by four values.
        allow: (H, W) bool, or None.

    Raises:
        UserValueError: If a mask has another size than the background, or a box lies
            outside of it.
    """

    def __init__(self, constraints: Constraints, background_wh: Tensor) -> None:
        masks = {name: None if mask is None else _on_background(
            name, mask, background_wh) for name, mask in (
                ('avoid', constraints.avoid_mask), ('allow', constraints.allow_mask))}
        self.allow, self.sums = masks['allow'], None
        if masks['avoid'] is not None:
            counts = masks['avoid'].cumsum(0, dtype=torch.int32)
            self.sums = torch.nn.functional.pad(
                counts.cumsum(1, dtype=torch.int32), (1, 0, 1, 0))
        self.avoid = constraints.avoid_boxes.to(background_wh.device)
        _check_boxes(self.avoid, background_wh)


class Candidates:
    """The cells of heat maps whose boxes meet constraints.

    Args:
        heat: (B, S, H, W) scores.
        grid: That of the maps.
        background_wh, object_wh: (B, 2) float64 widths and heights, on the device of
            the maps.
        constraints: Of the user; those that are exact (``at``, ``size``, ``scale``) for
            a single map.
        regions: Those of the constraints, if they are known already.
        name: Of the object, for messages.

    Attributes:
        heat: (B, S', H', W') scores, -inf where a cell is ruled out, cut down to what
            is not fixed.
        first: (3,) int64, the cell that is first in them.
        grid: Of the boxes, which have the size or center that was asked for.

    Raises:
        UserValueError: If constraints or maps do not fit the grid, or constraints the
            background.
    """

    def __init__(self, heat: Tensor, grid: PlacementGrid, background_wh: Tensor,
                 object_wh: Tensor, constraints: Constraints | None = None,
                 regions: Regions | None = None, name: str = '') -> None:
        if heat.ndim != 4 or tuple(heat.shape[1:]) != grid.shape:
            raise UserValueError(
                f'heat must be (S, H, W) = {grid.shape} as the grid says, got '
                f'{tuple(heat.shape[1:])}.')
        self.heat, self.grid = heat, grid
        self.background_wh, self.object_wh = background_wh, object_wh
        self.first = torch.zeros(3, dtype=torch.int64, device=heat.device)
        if constraints is None:
            return
        self._cut(constraints, name)
        regions = regions or Regions(constraints, background_wh)
        if regions.allow is not None:
            self._rule_out(~self._allowed(regions.allow))
        if regions.sums is not None:
            self._rule_out(self._covering(regions.sums))
        if constraints.inside:
            self._rule_out(self._leaving())
        self.keep_out_of(regions.avoid)

    def _cut(self, constraints: Constraints, name: str) -> None:
        """Keep the scale and the place that are fixed."""
        self.grid, fixed = constraints.on_grid(
            self.grid, self.background_wh[0].tolist(), self.object_wh[0].tolist(), name)
        for axis, (what, index) in enumerate(zip(
                ('fixed_scale', 'row of fixed_cell', 'column of fixed_cell'), fixed,
                strict=True)):
            if index is None:
                continue
            count = self.heat.shape[axis + 1]
            if not 0 <= index < count:
                raise UserValueError(
                    f'{what} must be from 0 to {count - 1}, got {index}.')
            self.first[axis] = index
            self.heat = self.heat.narrow(axis + 1, index, 1)

    def boxes(self, cells: Tensor, images: Tensor) -> Tensor:
        """(N, 4) boxes of (N, 3) cells of the maps (N,)."""
        return self.grid.boxes(
            cells, self.background_wh[images], self.object_wh[images])

    def keep_out_of(self, boxes_xywh: Tensor) -> None:
        """Rule out cells whose box overlaps one of (M, 4) boxes.

        Boxes overlap where their extents along both axes do, so that S x W and S x H
        extents are compared instead of all boxes.
        """
        if not len(boxes_xywh):
            return
        touched = []
        for axis, (starts, ends) in enumerate(self._extents):
            low, length = boxes_xywh[:, axis], boxes_xywh[:, 2 + axis]
            touched.append(((starts[..., None] < low + length - ROUNDING)
                            & (low < ends[..., None] - ROUNDING)).float())
        # Over the M boxes: (B, S, H, M) with (B, S, M, W).
        self._rule_out(touched[1] @ touched[0].mT > 0)

    def _rule_out(self, cells: Tensor) -> None:
        self.heat = self.heat.masked_fill(cells, -torch.inf)

    @cached_property
    def _extents(self) -> list[tuple[Tensor, Tensor]]:
        """(B, S, L) starts and ends along x (L columns) and y (L rows) of the boxes of
        all cells."""
        batch, scales, *sides = self.heat.shape
        found = []
        for axis, length in enumerate(reversed(sides)):
            cells = self.first.repeat(scales, length, 1)
            cells[..., 0] += torch.arange(scales, device=cells.device)[:, None]
            cells[..., 2 - axis] += torch.arange(length, device=cells.device)
            images = torch.arange(batch, device=cells.device).repeat_interleave(
                scales * length)
            boxes = self.boxes(cells.flatten(0, 1).repeat(batch, 1), images)
            boxes = boxes.view(batch, scales, length, 4)
            found.append((boxes[..., axis], boxes[..., axis] + boxes[..., 2 + axis]))
        return found

    def _allowed(self, mask: Tensor) -> Tensor:
        """(B, S, H, W) bool: cells whose box has its center on a true pixel."""
        columns, rows = (
            ((starts + ends) / 2 + ROUNDING).floor().long().clamp(0, pixels - 1)
            for (starts, ends), pixels in zip(
                self._extents, mask.shape[::-1], strict=True))
        return mask[rows[..., :, None], columns[..., None, :]]

    def _covering(self, sums: Tensor) -> Tensor:
        """(B, S, H, W) bool: cells whose box covers a pixel that ``sums`` counts."""
        edges = []
        for (starts, ends), pixels in zip(
                self._extents, sums.shape[::-1], strict=True):
            edges += [edge.long().clamp(0, pixels - 1) for edge in (
                (starts + ROUNDING).floor(), (ends - ROUNDING).ceil())]
        left, right, top, bottom = edges

        def sums_at(y: Tensor, x: Tensor) -> Tensor:
            return sums[y[..., :, None], x[..., None, :]]
        return (sums_at(bottom, right) - sums_at(top, right)
                - sums_at(bottom, left) + sums_at(top, left)) > 0

    def _leaving(self) -> Tensor:
        """(B, S, H, W) bool: cells whose box leaves the background."""
        x, y = ((starts < -ROUNDING) | (ends > side[:, None, None] + ROUNDING)
                for (starts, ends), side in zip(
                    self._extents, self.background_wh.T, strict=True))
        return y[..., :, None] | x[..., None, :]


def _on_background(name: str, mask: np.ndarray, background_wh: Tensor) -> Tensor:
    """A mask on the device, checked to have the size of all backgrounds."""
    for width, height in background_wh.unique(dim=0).int().tolist():
        if mask.shape != (height, width):
            raise UserValueError(
                f'{name} is a mask of shape {mask.shape}, but the background has '
                f'{height} rows and {width} columns of pixels. Resize the mask'
                f'{"; boxes would be (M, 4)." if name == "avoid" else "."}')
    return torch.tensor(mask, device=background_wh.device)


def _check_boxes(boxes: Tensor, background_wh: Tensor) -> None:
    """Check that every box to avoid has a size and lies in all backgrounds."""
    if not len(boxes):
        return
    (corners, sizes), smallest = boxes.split(2, 1), background_wh.amin(0)
    good = ((sizes > 0) & (corners + sizes > 0) & (corners < smallest)).all(1)
    if not good.all():
        x, y, width, height = boxes[~good][0].tolist()
        raise UserValueError(
            f'avoid: the box x={x:g}, y={y:g}, width={width:g}, height={height:g} '
            'covers nothing of the background of '
            f'{" x ".join(f"{side:g}" for side in smallest.tolist())} pixels.')
