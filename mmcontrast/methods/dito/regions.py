"""Sample the regions of an image that pretraining matches with its text."""
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...registry import MODELS

#: Regions of an image on P2, P3, P4 and P5: in proportion to the size of the map.
COUNTS = (64, 16, 4, 1)


class Regions(nn.Module, ABC):
    """Base of the samplers: a number of boxes for every level of the pyramid.

    Without parameters; a module, so that a config names it like any other part.

    Args:
        counts: Regions of an image on each level, finest first.
        multiple: k, a factor on all of ``counts``.
        with_whole_image: Append the box of the whole image on every level.

    Raises:
        ValueError: If a count or ``multiple`` is not a positive integer.
    """

    def __init__(self, counts: Sequence[int] = COUNTS, multiple: int = 1,
                 with_whole_image: bool = False) -> None:
        super().__init__()
        counts = tuple(counts)
        if not counts or min(*counts, multiple, 1) < 1 or not all(
                isinstance(count, int) for count in (*counts, multiple)):
            raise ValueError(
                f'counts={counts} with multiple={multiple}: expected a positive number '
                'of regions for every level of the pyramid.')
        self.counts = tuple(count * multiple for count in counts)
        self.with_whole_image = with_whole_image

    @property
    def num_levels(self) -> int:
        """Levels of the pyramid that regions are sampled on."""
        return len(self.counts)

    @abstractmethod
    def draw(self, num_images: int, device=None) -> list[Tensor]:
        """Uniform numbers that :meth:`forward` makes boxes of, level by level."""

    def forward(self, draws: Sequence[Tensor], height: int, width: int
                ) -> list[Tensor]:
        """Make the boxes of every level.

        Args:
            draws: As from :meth:`draw`.
            height, width: Of the images, in pixels.

        Returns:
            For every level (B, N, 4) boxes x1, y1, x2, y2 in pixels, N its count, and
            one more with the whole image.
        """
        boxes = [self.boxes(level, drawn, height, width)
                 for level, drawn in enumerate(draws)]
        if not self.with_whole_image:
            return boxes
        return [torch.cat([each, whole_image(len(each), height, width, each.device)], 1)
                for each in boxes]

    @abstractmethod
    def boxes(self, level: int, draws: Tensor, height: int, width: int) -> Tensor:
        """(B, N, 4) boxes of one level."""

    def extra_repr(self) -> str:
        return f'counts={self.counts}, with_whole_image={self.with_whole_image}'


@MODELS.register_module()
class RandomRegions(Regions):
    """Boxes of random size, aspect ratio and position, new in every step.

    "Detection-Oriented Image-Text Pretraining for Open-Vocabulary Detection", Kim et
    al., arXiv 2310.00161. The release has no pretraining code; the rule is ours in the
    paper's ranges, see :func:`random_boxes`.

    Args:
        min_size: Smallest side before the aspect ratio, as a share of the image.
        max_aspect: Largest ratio of the sides, either way round.
        counts, multiple, with_whole_image: As in :class:`Regions`.
    """

    def __init__(self, min_size: float = 0.05, max_aspect: float = 2.0,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < min_size <= 1 <= max_aspect:
            raise ValueError(
                f'min_size={min_size} must be in (0, 1], a share of the image, and '
                f'max_aspect={max_aspect} at least 1.')
        self.min_size = min_size
        self.max_aspect = max_aspect

    def draw(self, num_images: int, device=None) -> list[Tensor]:
        """(B, N, 4) numbers in [0, 1) for every level."""
        counts = self.counts
        drawn = torch.rand(num_images, sum(counts), 4, device=device)
        return list(drawn.split(counts, dim=1))

    def boxes(self, level: int, draws: Tensor, height: int, width: int) -> Tensor:
        return random_boxes(draws, height, width, self.min_size, self.max_aspect)


@MODELS.register_module()
class GridRegions(Regions):
    """Cells of a regular grid, which tile the image; the same in every step.

    A caption of several objects then meets each of them in some cell, where random
    boxes pair all of it with every region. Arguments are those of :class:`Regions`.

    Raises:
        ValueError: If a count has no rows x columns with at most twice as many
            columns as rows.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.grids = tuple(_grid(count) for count in self.counts)

    def draw(self, num_images: int, device=None) -> list[Tensor]:
        """(B, 0) for every level: nothing is random."""
        return [torch.empty(num_images, 0, device=device) for _ in self.counts]

    def boxes(self, level: int, draws: Tensor, height: int, width: int) -> Tensor:
        rows, columns = self.grids[level]
        top = torch.arange(rows, device=draws.device) * (height / rows)
        left = torch.arange(columns, device=draws.device) * (width / columns)
        y, x = torch.meshgrid(top, left, indexing='ij')
        cells = torch.stack([x, y, x + width / columns, y + height / rows], dim=-1)
        return cells.flatten(0, 1).expand(len(draws), -1, -1)


def random_boxes(draws: Tensor, height: int, width: int, min_size: float = 0.05,
                 max_aspect: float = 2.0) -> Tensor:
    """Turn uniform numbers into boxes inside the image.

    With s = min_size + (1 - min_size) * u0 and r = max_aspect ** (2 * u1 - 1), a box is
    min(1, s * sqrt(r)) of the height and min(1, s / sqrt(r)) of the width; u2 and u3
    give its position, vertical first, between the borders.

    Args:
        draws: (..., 4) numbers in [0, 1).
        height, width: Of the image, in pixels.
        min_size, max_aspect: See :class:`RandomRegions`.

    Returns:
        (..., 4) x1, y1, x2, y2 in pixels.
    """
    size, aspect, vertical, horizontal = draws.unbind(-1)
    size = min_size + (1 - min_size) * size
    # The root of the ratio height / width, uniform in its logarithm.
    root = torch.exp((aspect - 0.5) * math.log(max_aspect))
    box_height = (size * root).clamp(max=1) * height
    box_width = (size / root).clamp(max=1) * width
    top = vertical * (height - box_height)
    left = horizontal * (width - box_width)
    return torch.stack([left, top, left + box_width, top + box_height], dim=-1)


def whole_image(num_images: int, height: int, width: int, device=None) -> Tensor:
    """(B, 1, 4) box x1, y1, x2, y2 of the whole image, in pixels."""
    # Filled on the device: copying a list to a GPU would wait for it.
    boxes = torch.zeros(num_images, 1, 4, device=device)
    boxes[..., 2], boxes[..., 3] = width, height
    return boxes


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns of ``count`` cells, as square as possible."""
    rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    columns = count // rows
    if columns > 2 * rows:
        raise ValueError(
            f'{count} regions make a grid of {rows} x {columns}, whose cells are '
            'strips. Choose counts and multiple whose product has rows and columns '
            'within a factor of 2, such as 1, 2, 4, 6, 9, 12 or 16.')
    return rows, columns
