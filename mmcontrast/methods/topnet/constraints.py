"""Describe what a user asks of the place of an object."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserValueError
from .cutouts import check_fits
from .exact_grid import ExactGrid
from .grid import PlacementGrid
from .sample import boxes_tensor

# Gray level from which on a mask is white.
_WHITE = 128
_NUMBERS, _REGIONS = ('at', 'size', 'scale'), ('avoid', 'allow')


@dataclass(frozen=True)
class Constraints:
    """What a user knows about where an object belongs, in pixels of the background.

    Masks are arrays or tensors of the size of the background: bool, of 0 and 1, or gray
    with white (128 or more) where they hold.

    Attributes:
        at: (x, y), exact center of the box: at which size does the object belong there?
        size: (w, h) that the object is to fill as far as its shape allows: where does
            it belong at this size?
        scale: Likewise as a share of the background, max(w / W, h / H), in (0, 1].
        avoid: Where no part of the box may lie: (M, 4) boxes (x, y, w, h), such as
            those of objects that stand there, or an (H, W) mask. Boxes that only touch
            do not overlap.
        allow: (H, W) mask in which the center of the box must lie.
        fixed_scale: Scale bin: where does the object belong at its size?
        fixed_cell: (row, column): at which size does it belong there?
            :meth:`at_point` takes a point of the background.
        inside: Rule out boxes that leave the background, so that the best of those
            inside is found. ``keep_inside`` of decoding drops them afterwards: a map
            whose maximum lies outside may then have no box.

    Raises:
        UserValueError: If a number is out of range, two of them contradict each other,
            or a region is neither boxes nor a mask.
    """

    at: Sequence[float] | None = None
    size: Sequence[float] | None = None
    scale: float | None = None
    avoid: np.ndarray | Tensor | Sequence | None = None
    allow: np.ndarray | Tensor | None = None
    fixed_scale: int | None = None
    fixed_cell: tuple[int, int] | None = None
    inside: bool = False

    def __post_init__(self) -> None:
        for name in ('at', 'size'):
            if (value := getattr(self, name)) is not None:
                _check_pair(name, value)
        if self.size is not None and min(self.size) <= 0:
            raise UserValueError(f'size must be above 0, got {tuple(self.size)}.')
        if self.scale is not None and not (
                isinstance(self.scale, Real) and 0 < self.scale <= 1):
            raise UserValueError(
                'scale is the larger of width / width and height / height of object '
                f'and background, above 0 and at most 1; got {self.scale}.')
        self._check_contradictions()
        if self.allow_mask is not None and not self.allow_mask.any():
            raise UserValueError('allow is a mask that allows no pixel: it must be '
                                 'white where the center of the object may lie.')
        _ = self.avoid_boxes  # raises if they are no boxes

    def _check_contradictions(self) -> None:
        for names, what in ((('size', 'scale', 'fixed_scale'), 'size'),
                            (('at', 'fixed_cell'), 'position')):
            given = [f'{name}={_shown(value)}' for name in names
                     if (value := getattr(self, name)) is not None]
            if len(given) > 1:
                raise UserValueError(f'{given[0]} and {given[1]} both fix the {what} '
                                     'of the object; give one of them.')

    @classmethod
    def at_point(cls, point_xy: Sequence[float], background_wh: Sequence[float],
                 grid: PlacementGrid, **others) -> 'Constraints':
        """Fix the cell that holds a point; its boxes are centered in the cell.

        Raises:
            UserValueError: If the point lies outside of the background.
        """
        return cls(fixed_cell=_cell_at(point_xy, background_wh, grid), **others)

    @property
    def is_exact(self) -> bool:
        """Whether boxes get a size or center that is not that of their cells."""
        return any(getattr(self, name) is not None for name in _NUMBERS)

    @cached_property
    def avoid_mask(self) -> np.ndarray | None:
        """(H, W) bool: ``avoid``, if it is a mask."""
        is_array = isinstance(self.avoid, np.ndarray | Tensor) and self.avoid.ndim == 2
        if is_array and (self.avoid.shape[1] != 4 or 'bool' in str(self.avoid.dtype)):
            return _as_mask('avoid', self.avoid)
        return None

    @cached_property
    def avoid_boxes(self) -> Tensor:
        """(M, 4) float64: ``avoid``, if it is boxes."""
        is_boxes = self.avoid is not None and self.avoid_mask is None
        try:
            return boxes_tensor(self.avoid if is_boxes else [], 'avoid').cpu()
        except UserValueError as error:
            raise UserValueError(
                f'{error} A mask is an array (rows, columns).') from None

    @cached_property
    def allow_mask(self) -> np.ndarray | None:
        """(H, W) bool."""
        return None if self.allow is None else _as_mask('allow', self.allow)

    def on_grid(self, grid: PlacementGrid, background_wh: Sequence[float],
                object_wh: Sequence[float], name: str = ''
                ) -> tuple[PlacementGrid, tuple[int | None, int | None, int | None]]:
        """The grid whose boxes have the size and center asked for, and what is fixed.

        Args:
            grid: That of the map.
            background_wh, object_wh: Width and height in pixels.
            name: Of the object, for messages.

        Returns:
            The grid, and scale bin, row and column, None where all are left.

        Raises:
            UserValueError: If the point lies outside of the background, or the size is
                larger than it or below one pixel.
        """
        ratio, cell = self._ratio(background_wh, object_wh, name), self.fixed_cell
        scale = self.fixed_scale if ratio is None else grid.bin_of(ratio)
        if self.at is not None:
            cell = _cell_at(self.at, background_wh, grid)
            grid = ExactGrid.at_point(grid, self.at, cell, background_wh, ratio)
        elif ratio is not None:
            grid = ExactGrid(grid, ratio)
        return grid, (scale, *(cell or (None, None)))

    def _ratio(self, background_wh: Sequence[float], object_wh: Sequence[float],
               name: str) -> float | None:
        """max(w / W, h / H) of a fixed size."""
        if self.size is None and self.scale is None:
            return None
        rooms = self.size
        if rooms is None:
            rooms = [self.scale * float(side) for side in background_wh]
        share = min(room / side for room, side in zip(rooms, object_wh, strict=True))
        # Rounding must not make it larger than what was asked for.
        filled = [min(share * side, room) for room, side in zip(
            rooms, object_wh, strict=True)]
        if max(filled) < 1:
            raise UserValueError(
                f'{name or "The object"} would be smaller than one pixel'
                f'{self.sentence()}. Ask for a larger size.')
        if self.size is None:
            return self.scale
        check_fits(filled, background_wh, name)
        return max(side / limit for side, limit in zip(
            filled, background_wh, strict=True))

    def sentence(self) -> str:
        """What was asked for, for a message: ' with at=(3, 4), avoid'."""
        given = [f'{name}={_shown(value)}' for name in _NUMBERS
                 if (value := getattr(self, name)) is not None]
        given += [name for name in _REGIONS if getattr(self, name) is not None]
        return f' with {", ".join(given)}' if given else ''


def _cell_at(point_xy: Sequence[float], background_wh: Sequence[float],
             grid: PlacementGrid) -> tuple[int, int]:
    """(row, column) of the cell that holds a point."""
    (x, y), (width, height) = point_xy, background_wh
    if not (0 <= x <= width and 0 <= y <= height):
        raise UserValueError(
            f'The point {_shown(point_xy)} lies outside of the background of '
            f'{width:g} x {height:g} pixels.')
    point = torch.tensor([[x, y, 0., 0.]], dtype=torch.float64)
    return tuple(grid.cells(point, background_wh)[0, 1:].tolist())


def _check_pair(name: str, value: Any) -> None:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (2,) or not np.isfinite(numbers).all():
        raise UserValueError(f'{name} must be two numbers, got {value!r}.')


def _as_mask(name: str, given: Any) -> np.ndarray:
    """(H, W) bool, as files of masks are read: of 0 and 1, or gray."""
    try:
        mask = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
    except ValueError:
        mask = np.empty(0, object)
    if mask.ndim != 2 or mask.dtype.kind not in 'buif':
        raise UserValueError(
            f'{name} must be a mask of the background, an array (rows, columns) that '
            f'is bool or white where it holds, got {mask.dtype} of shape {mask.shape}.')
    if mask.dtype.kind == 'b':
        return mask
    if not np.isfinite(mask).all():
        raise UserValueError(f'{name} is a mask that holds NaN or infinite numbers.')
    return mask >= (_WHITE if mask.max(initial=0) > 1 else 0.5)


def _shown(value: Any) -> str:
    """0.5, or (3, 4)."""
    if np.ndim(value):
        return f'({", ".join(f"{number:g}" for number in value)})'
    return f'{value:g}'
