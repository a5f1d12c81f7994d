"""Arrange the tokens of a map window by window, for attention within windows."""
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def window_counts(windows: Sequence[int | None] | None, layers: int
                  ) -> tuple[int | None, ...]:
    """Windows per side of every block, None for global attention.

    Args:
        windows: One entry a block, or a pattern that is repeated: ``(4, 4, None)``.
            None: all blocks are global.
        layers: Number of blocks.

    Raises:
        ValueError: If the length does not divide ``layers``, or an entry is neither
            None nor a positive integer.
    """
    pattern = (None,) if windows is None else tuple(windows)
    if not pattern or layers % len(pattern):
        raise ValueError(
            f'windows must have one entry for each of the {layers} blocks, or a length '
            f'that divides {layers}; got {len(pattern)}: {pattern}.')
    for count in pattern:
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ValueError(
                'windows must hold windows per side (1 or more) or None for global '
                f'attention, got {count!r}.')
    return pattern * (layers // len(pattern))


class WindowLayout:
    """Order of tokens in which every window of a map is contiguous.

    The map is split into k x k windows that differ by at most one row and one column,
    the larger ones first, so there is no padding. Equal windows form a run: one if k
    divides both sides, else up to four. Runs, the windows of a run and the tokens of a
    window are in row-major order.

    The reference implementation of DITO stacks the windows on the batch axis, window
    index first, and requires sides that k divides. Here they stay on the token axis:
    layers that treat tokens one by one, global attention and drop path per image need
    no change of layout.

    Args:
        height, width: Of the map, in tokens.
        count: k, windows per side; fewer on a side of fewer tokens.

    Attributes:
        runs: ``(windows, tokens per window)`` of every run; see
            :class:`~mmcontrast.models.layers.transformer.SelfAttention`.
    """

    def __init__(self, height: int, width: int, count: int):
        self.height, self.width, self.count = height, width, count
        self._rows, self._cols = near_equal(height, count), near_equal(width, count)
        self.runs = tuple((rows * cols, high * wide)
                          for rows, high, cols, wide in self._kinds())

    def split(self, tokens: Tensor) -> Tensor:
        """(B, H * W, C), row-major -> the same tokens, window by window."""
        grid = tokens.unflatten(1, (self.height, self.width))
        parts = [part for band in grid.split([n * h for n, h in self._rows], 1)
                 for part in band.split([n * w for n, w in self._cols], 2)]
        runs = [part.unflatten(2, (cols, wide)).unflatten(1, (rows, high))
                .transpose(2, 3).flatten(1, 4)
                for part, (rows, high, cols, wide)
                in zip(parts, self._kinds(), strict=True)]
        return torch.cat(runs, 1) if len(runs) > 1 else runs[0]

    def merge(self, tokens: Tensor) -> Tensor:
        """Inverse of :meth:`split`."""
        runs = tokens.split([windows * length for windows, length in self.runs], 1)
        parts = [run.unflatten(1, (rows, cols, high, wide)).transpose(2, 3)
                 .flatten(3, 4).flatten(1, 2)
                 for run, (rows, high, cols, wide)
                 in zip(runs, self._kinds(), strict=True)]
        across = len(self._cols)
        bands = [torch.cat(parts[i:i + across], 2)
                 for i in range(0, len(parts), across)]
        return torch.cat(bands, 1).flatten(1, 2)

    def _kinds(self) -> Iterator[tuple[int, int, int, int]]:
        """Rows of windows, their height, columns of windows, their width; by run."""
        return ((*row, *col) for row in self._rows for col in self._cols)


def near_equal(size: int, count: int) -> list[tuple[int, int]]:
    """``(number, length)`` of the parts of a side, the longer ones first.

    >>> near_equal(14, 4)
    [(2, 4), (2, 3)]
    """
    count = min(count, size)
    length, longer = divmod(size, count)
    parts = [(longer, length + 1), (count - longer, length)]
    return [part for part in parts if part[0]]
