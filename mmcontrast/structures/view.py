"""Locate augmented views in their source images."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """Where one augmented view lies in its source image.

    Attributes:
        left, top, right, bottom: Crop edges in source pixels, end exclusive.
        flipped: Whether the view was mirrored left to right after the crop.
        source_width, source_height: Size of the source image in pixels, for methods
            whose published coordinates are relative to the whole image.
    """

    left: float
    top: float
    right: float
    bottom: float
    flipped: bool = False
    source_width: int = 0
    source_height: int = 0

    def grid(self, rows: int, cols: int) -> Tensor:
        """Centers of a ``rows`` x ``cols`` feature grid, in source pixels.

        Returns:
            (rows, cols, 2) float tensor, last axis (x, y). Cell (0, 0) is the top-left
            cell of the view *as the network sees it*, so a mirrored view starts at the
            right edge of its crop.
        """
        return ViewBatch.stack([self]).grid(rows, cols)[0]


@dataclass(frozen=True)
class ViewBatch:
    """The views of N images as tensors on one device.

    Attributes:
        boxes_xyxy: (N, 4) float32, crop edges in source pixels, end exclusive.
        flipped: (N,) bool, mirrored left to right after the crop.
        source_sizes: (N, 2) float32, (width, height) of the source images.
    """

    boxes_xyxy: Tensor
    flipped: Tensor
    source_sizes: Tensor

    @classmethod
    def stack(cls, views: Sequence[View], device: torch.device | str = 'cpu'
              ) -> 'ViewBatch':
        """Collect views; one transfer to ``device`` for all numbers."""
        table = torch.tensor(
            [[v.left, v.top, v.right, v.bottom, v.flipped,
              v.source_width, v.source_height] for v in views],
            dtype=torch.float32).to(device, non_blocking=True)
        return cls(table[:, :4], table[:, 4] > 0, table[:, 5:])

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def grid(self, rows: int, cols: int) -> Tensor:
        """Cell centers of every view, (N, rows, cols, 2), as :meth:`View.grid`."""
        left, top, right, bottom = self.boxes_xyxy[:, :, None].unbind(1)
        steps_x = (torch.arange(cols, device=left.device) + 0.5) / cols
        steps_y = (torch.arange(rows, device=left.device) + 0.5) / rows
        steps_x = torch.where(self.flipped[:, None], 1 - steps_x, steps_x)
        x = left + steps_x * (right - left)
        y = top + steps_y * (bottom - top)
        return torch.stack(
            [x[:, None, :].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, cols)],
            dim=-1)
