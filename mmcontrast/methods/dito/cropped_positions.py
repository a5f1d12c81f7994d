"""Crop the position embeddings of a random region for every image (CPE)."""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.functional import at_least_float
from ...registry import MODELS


@MODELS.register_module()
class CroppedPositions(nn.Module):
    """Position embeddings of a random region, so that an image looks like a crop.

    "Region-Aware Pretraining for Open-Vocabulary Object Detection with Vision
    Transformers" (RO-ViT), Kim et al., CVPR 2023. An image of pretraining is treated as
    if it were a region of a larger image, as regions are in detection. The released
    code crops one given region; how it is drawn is ours in the range of its comment.

    Args:
        size: Side of the square that the table is resized to before the crop, in cells.
            64 is the map of an image of 1024 pixels.
        min_area: Smallest area of a region, as a share of the square.
        max_aspect: Largest ratio of the sides, either way round.
        num_tries: Draws until one fits; the whole square where none does.
    """

    def __init__(self, size: int = 64, min_area: float = 0.1, max_aspect: float = 2.0,
                 num_tries: int = 10) -> None:
        super().__init__()
        if size < 1 or not 0 < min_area <= 1 <= max_aspect or num_tries < 1:
            raise ValueError(
                f'size={size} and num_tries={num_tries} must be positive, min_area='
                f'{min_area} in (0, 1] and max_aspect={max_aspect} at least 1.')
        self.size = size
        self.min_area = min_area
        self.max_aspect = max_aspect
        self.num_tries = num_tries

    def draw(self, num_images: int, device=None) -> Tensor:
        """(B, tries, 4) uniform numbers that :meth:`regions` makes regions of."""
        return torch.rand(num_images, self.num_tries, 4, device=device)

    def regions(self, draws: Tensor) -> Tensor:
        """(B, 4) regions x1, y1, x2, y2 in cells of the square."""
        return self.size * cropped_regions(draws, self.min_area, self.max_aspect)

    def forward(self, table: Tensor, draws: Tensor, height: int, width: int) -> Tensor:
        """Position embeddings of one region per image.

        Args:
            table: (n * n, C) position table.
            draws: (B, tries, 4) as from :meth:`draw`.
            height, width: Of the map of patches.

        Returns:
            (B, height * width, C).
        """
        return crop_table(table, self.regions(draws), height, width, self.size)


def cropped_regions(draws: Tensor, min_area: float = 0.1, max_aspect: float = 2.0
                    ) -> Tensor:
    """Turn uniform numbers into regions, as in a random resized crop.

    Area uniform in [min_area, 1], aspect ratio uniform in its logarithm, position
    uniform; the first try that fits, and the whole where none does.

    Args:
        draws: (B, tries, 4) in [0, 1): area, aspect ratio, vertical and horizontal
            position.

    Returns:
        (B, 4) x1, y1, x2, y2 in [0, 1].
    """
    area, aspect, vertical, horizontal = draws.unbind(-1)
    side = (min_area + (1 - min_area) * area).sqrt()
    root = torch.exp((aspect - 0.5) * math.log(max_aspect))
    heights, widths = side * root, side / root
    top, left = vertical * (1 - heights), horizontal * (1 - widths)
    tries = torch.stack([left, top, left + widths, top + heights], dim=-1)
    fits = (heights <= 1) & (widths <= 1)
    # The first True; 0 without one.
    first = fits.float().argmax(1)
    chosen = tries[torch.arange(len(tries), device=tries.device), first]
    whole = (torch.arange(4, device=draws.device) > 1).to(chosen.dtype)  # 0, 0, 1, 1
    return torch.where(fits.any(1, keepdim=True), chosen, whole)


def crop_table(table: Tensor, regions: Tensor, height: int, width: int,
               size: int = 64) -> Tensor:
    """Resize a position table, crop a region per image and sample it on a grid.

    Resizing is bilinear with half-pixel centers. The crop takes one bilinear sample a
    cell, at x1 + (i + 0.5) * (x2 - x1) / width, and cell n of the square is at
    coordinate n, without half a pixel: the convention of the RoI crop of DITO. Both
    steps are linear and separable, so that an axis is one small matrix, and the resized
    table (4096 rows) is never computed.

    Args:
        table: (n * n, C).
        regions: (B, 4) x1, y1, x2, y2 in cells of the ``size`` x ``size`` square.
        height, width: Of the grid.

    Returns:
        (B, height * width, C) in the type of the table; computed in float32 or more.

    Raises:
        ValueError: If the table is not one of a square grid.
    """
    side = math.isqrt(len(table))
    if side * side != len(table):
        raise ValueError(
            'Positions are cropped out of a table of n * n rows, of a square grid '
            f'without a class token; got {tuple(table.shape)}.')
    with torch.autocast(table.device.type, enabled=False):
        grid = at_least_float(table).unflatten(0, (side, side))
        resize = F.interpolate(
            torch.eye(side, dtype=grid.dtype, device=grid.device)[None], size,
            mode='linear', align_corners=False)[0].T              # (size, side)
        x1, y1, x2, y2 = regions.to(grid.dtype).unbind(1)
        rows = _samples(y1, y2, height, size) @ resize            # (B, height, side)
        columns = _samples(x1, x2, width, size) @ resize
        # b: image, i, j: cell, n, m: row and column of the table
        grid = torch.einsum('bin,nmc->bimc', rows, grid)
        cropped = torch.einsum('bjm,bimc->bijc', columns, grid)
    return cropped.flatten(1, 2).to(table.dtype)


def _samples(start: Tensor, end: Tensor, count: int, size: int) -> Tensor:
    """(B, count, size) bilinear weights of samples at the cell centers of a crop."""
    cells = torch.arange(count, dtype=start.dtype, device=start.device) + 0.5
    at = start[:, None] + cells * ((end - start) / count)[:, None]
    at = at.clamp(0, size - 1)
    distance = at[..., None] - torch.arange(size, dtype=at.dtype, device=at.device)
    return (1 - distance.abs()).clamp(min=0)
