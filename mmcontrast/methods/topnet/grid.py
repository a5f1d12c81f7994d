"""Convert between boxes in a background and cells of the 3-D heat map."""
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from ...errors import UserValueError, did_you_mean

BINNINGS = ('uniform', 'fopa')
#: Pixels by which the edge of a box may miss that of a pixel, another box or the
#: background: rounding of float64.
ROUNDING = 1e-9


class PlacementGrid:
    """Cells (scale bin, row, column) of a heat map, and the boxes they stand for.

    The size of a box is one number, the ratio max(w / W, h / H) to a background of
    W x H pixels: the aspect ratio is the object's. All is float64, as bin edges such as
    5 / 16 must be met exactly.

    The paper does not give its bookkeeping; this one is ours. The binning
    'fopa' has the 16 scales of "Fast Object Placement Assessment" (arXiv 2205.14280).

    Args:
        size: Rows and columns of the map.
        scales: S, number of scale bins.
        binning: 'uniform': bin s covers the ratios from s / S to (s + 1) / S and stands
            for its center; 'fopa': bin s stands for (s + 1) / (S + 2) and covers the
            ratios nearest to it.

    Raises:
        ValueError: If a size is not positive or there is no such binning.
    """

    def __init__(self, size: Sequence[int] = (256, 256), scales: int = 16,
                 binning: str = 'uniform') -> None:
        sides = tuple(size) if isinstance(size, Sequence) else ()
        if len(sides) != 2 or not all(
                isinstance(number, Integral) and number > 0
                for number in (*sides, scales)):
            raise UserValueError(
                'grid: size must be (rows, columns) and scales a number of bins, all '
                f'positive, got size={size!r}, scales={scales!r}.')
        if binning not in BINNINGS:
            raise UserValueError(
                f'grid: binning must be one of {BINNINGS}, got {binning!r}'
                f'{did_you_mean(binning, BINNINGS)}')
        self.size, self.scales, self.binning = sides, scales, binning

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, rows, columns) of a heat map."""
        return self.scales, *self.size

    @property
    def ratios(self) -> Tensor:
        """(S,) float64: the ratio that each scale bin stands for."""
        bins = torch.arange(self.scales, dtype=torch.float64)
        if self.binning == 'uniform':
            return (bins + 0.5) / self.scales
        return (bins + 1) / (self.scales + 2)

    def with_scales(self, scales: int) -> 'PlacementGrid':
        """The grid of a map with another number of scale bins."""
        if scales == self.scales:
            return self
        return PlacementGrid(self.size, scales, self.binning)

    def cells(self, boxes_xywh: Tensor, background_wh) -> Tensor:
        """Cells that hold the centers and sizes of boxes.

        Centers outside of the background and sizes beyond it count to the nearest cell.

        Args:
            boxes_xywh: (N, 4) in pixels of the background.
            background_wh: (2,) for all boxes or (N, 2), width and height.

        Returns:
            (N, 3) int64: scale bin, row, column.
        """
        boxes = torch.as_tensor(boxes_xywh, dtype=torch.float64)
        background = torch.as_tensor(
            background_wh, dtype=torch.float64, device=boxes.device)
        rows, columns = self.size
        limits = boxes.new_tensor([columns, rows])
        centers = boxes[:, :2] + boxes[:, 2:] / 2
        places = torch.floor(centers * limits / background)
        places = torch.minimum(places.clamp(min=0), limits - 1).long()
        bins = self._bins((boxes[:, 2:] / background).amax(1))
        return torch.stack([bins, places[:, 1], places[:, 0]], 1)

    def bin_of(self, ratio: float) -> int:
        """The scale bin that holds a ratio."""
        return int(self._bins(torch.tensor([ratio], dtype=torch.float64))[0])

    def _bins(self, ratios: Tensor) -> Tensor:
        """(N,) ratios -> (N,) int64 scale bins."""
        if self.binning == 'uniform':
            return torch.floor(ratios * self.scales).clamp(0, self.scales - 1).long()
        # argmin takes the first of equals: the smaller scale.
        return (ratios[:, None] - self.ratios.to(ratios.device)).abs().argmin(1)

    def boxes(self, cells: Tensor, background_wh, object_wh) -> Tensor:
        """Boxes that cells stand for; they may leave the background.

        Args:
            cells: (N, 3) scale bin, row, column.
            background_wh: (2,) or (N, 2), width and height of the background.
            object_wh: (2,) or (N, 2), of the object; only the aspect ratio counts.

        Returns:
            (N, 4) float64 boxes (x, y, w, h) in pixels of the background.
        """
        kind = dict(dtype=torch.float64, device=cells.device)
        background = torch.as_tensor(background_wh, **kind)
        shape = torch.as_tensor(object_wh, **kind)
        rows, columns = self.size
        centers = (cells[:, [2, 1]] + 0.5) * background / background.new_tensor(
            [columns, rows])
        ratios = self.ratios.to(cells.device)[cells[:, 0]]
        sizes = self._sizes(ratios, background, shape)
        return torch.cat([centers - sizes / 2, sizes], 1)

    @staticmethod
    def _sizes(ratios: Tensor, background_wh: Tensor, object_wh: Tensor) -> Tensor:
        """(N,) ratios -> (N, 2) widths and heights with the aspect of the object."""
        (width, height), (object_w, object_h) = (
            background_wh.unbind(-1), object_wh.unbind(-1))
        is_tall = object_h / object_w > height / width
        by_height = torch.stack([ratios * height * object_w / object_h,
                                 ratios * height], -1)
        by_width = torch.stack([ratios * width,
                                ratios * width * object_h / object_w], -1)
        return torch.where(is_tall[..., None], by_height, by_width)
