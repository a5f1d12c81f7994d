"""Fit the position embeddings of image towers to any feature map size.

A table has n x n rows for the positions of a square training image, those of CLIP's
towers after one row for the global token. DenseCLIP's segmentors resize the square to
the size of the map, its detectors crop that size out of a larger square.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional import at_least_float

POS_MODES = ('resize', 'crop')
# Tables cached for evaluation; detection meets a few dozen sizes of up to 9 MB each.
_MAX_CACHED = 16


class FittedPositions(nn.Module):
    """Base of a module with a ``positional_embedding``, (1 + n * n, C).

    A subclass with another table overrides ``_fit``.

    Without gradients, in eval mode, the fitted table of a map size is cached. The cache
    is cleared by ``train()`` and ``eval()``, by new weights and by a move to another
    device or type.

    Args:
        pos_mode: 'resize' or 'crop', see :func:`resize_positions` and
            :func:`crop_positions`.
    """

    positional_embedding: nn.Parameter

    def __init__(self, pos_mode: str = 'resize', **kwargs):
        super().__init__(**kwargs)
        if pos_mode not in POS_MODES:
            raise ValueError(
                f'pos_mode must be one of {POS_MODES}, got {pos_mode!r}.')
        self.pos_mode = pos_mode
        self._cache: dict[tuple[int, int, int], Tensor] = {}

    def positions(self, height: int, width: int) -> Tensor:
        """(1 + H * W, C) position embeddings, that of the global token first."""
        # A cached table has no gradient path to the parameter.
        if self.training or torch.is_grad_enabled():
            return self._fit(height, width)
        # An optimizer that steps in eval mode changes the version.
        size = height, width, self.positional_embedding._version
        if size not in self._cache:
            if len(self._cache) == _MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[size] = self._fit(height, width)
        return self._cache[size]

    def _fit(self, height: int, width: int) -> Tensor:
        fit = resize_positions if self.pos_mode == 'resize' else crop_positions
        return fit(self.positional_embedding, height, width)

    def train(self, mode: bool = True):
        # Also on eval(): EMA hooks swap the averaged weights in just before it.
        self._cache.clear()
        return super().train(mode)

    def _load_from_state_dict(self, *args, **kwargs):
        self._cache.clear()
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args, **kwargs):
        self._cache.clear()
        return super()._apply(*args, **kwargs)


def resize_positions(table: Tensor, height: int, width: int) -> Tensor:
    """Resize the square part of a table; the first row stays.

    Bilinear in float32, ``align_corners=False``, without antialiasing, as the released
    DenseCLIP does for new weights and on every forward.

    Args:
        table: (1 + n * n, C).

    Returns:
        (1 + H * W, C) in the table's type.
    """
    side = square_side(table)
    if (height, width) == (side, side):
        return table
    grid = _resized(table[1:], side, height, width)
    return torch.cat([table[:1], grid.flatten(0, 1)])


def crop_positions(table: Tensor, height: int, width: int) -> Tensor:
    """Crop the top left H x W positions out of the square part of a table.

    An axis along which the map is larger than the square is resized instead; the
    released detection code stops with a shape error there.

    Args:
        table: (1 + n * n, C).

    Returns:
        (1 + H * W, C).
    """
    side = square_side(table)
    return torch.cat([table[:1], _cropped(table[1:], side, height, width)])


def fit_grid(table: Tensor, height: int, width: int, pos_mode: str = 'resize'
             ) -> Tensor:
    """Fit a table without a row for a global token.

    'resize' is bilinear between cell centers in float32 and antialiased along an axis
    that shrinks, as in the reference implementation of DITO. That one compares the
    number of cells with the table's, so a map of 28 x 7 gets the rows of 14 x 14
    unchanged; here the shapes are compared. 'crop' is :func:`crop_positions`.

    Args:
        table: (n * n, C).
        pos_mode: One of :data:`POS_MODES`.

    Returns:
        (H * W, C) in the table's type.
    """
    side = math.isqrt(len(table))
    if (height, width) == (side, side):
        return table
    if pos_mode == 'crop':
        return _cropped(table, side, height, width)
    return _resized(table, side, height, width, antialias=True).flatten(0, 1)


def square_side(table: Tensor) -> int:
    """n of a (1 + n * n, C) table.

    Raises:
        ValueError: If its length is not one more than a square.
    """
    side = math.isqrt(max(len(table) - 1, 0))
    if side < 1 or side * side + 1 != len(table):
        raise ValueError(
            f'a position table has 1 + n * n rows, one for the global token and a '
            f'square grid; got {tuple(table.shape)}.')
    return side


def grid_rows(table: Tensor) -> Tensor:
    """The square grid at the end of a table, without the rows of other tokens."""
    return table[len(table) - math.isqrt(len(table)) ** 2:]


def _cropped(grid: Tensor, side: int, height: int, width: int) -> Tensor:
    if max(height, width) > side:
        grid = _resized(grid, side, max(height, side), max(width, side))
    else:
        grid = grid.unflatten(0, (side, side))
    return grid[:height, :width].flatten(0, 1)


def _resized(grid: Tensor, side: int, height: int, width: int,
             antialias: bool = False) -> Tensor:
    """(n * n, C) -> (H, W, C)."""
    square = at_least_float(grid).unflatten(0, (side, side)).permute(2, 0, 1)
    resized = F.interpolate(square[None], (height, width), mode='bilinear',
                            align_corners=False, antialias=antialias)
    return resized[0].permute(1, 2, 0).to(grid.dtype)
