"""Say what a user wants of a placement, and check it against a background."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import UserValueError
from .constraints import Constraints
from .cutouts import check_fits
from .decoding import Placements, decode
from .exact_grid import ExactGrid
from .grid import PlacementGrid
from .sample import boxes_tensor

_WISHES = 'at', 'size', 'scale', 'avoid', 'allow'


@dataclass(frozen=True)
class Wishes:
    """What is asked of the places of an object, in pixels of the background.

    Attributes:
        at: (x, y), center of the box: which size?
        size: (w, h) that the object is to fill as far as its shape allows: where?
        scale: Likewise as a share, max(w / W, h / H), in (0, 1].
        avoid: (M, 4) boxes (x, y, w, h) that the object's box must not overlap, or an
            (H, W) bool mask of pixels that it must not cover.
        allow: (H, W) bool mask in which the center of the box must lie.
        options: ``k``, ``window``, ``keep_inside`` and ``nms_iou`` of
            :func:`~.decoding.decode_batch`.

    Raises:
        UserValueError: If both ``size`` and ``scale`` are given, or a number is out of
            range.
    """

    at: Sequence[float] | None = None
    size: Sequence[float] | None = None
    scale: float | None = None
    avoid: np.ndarray | Sequence | None = None
    allow: np.ndarray | None = None
    options: dict | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.scale is not None:
            raise UserValueError(
                f'size={tuple(self.size)} and scale={self.scale:g} both fix the size '
                'of the object; give one of them.')
        if self.scale is not None and not 0 < self.scale <= 1:
            raise UserValueError(
                'scale is the larger of width / width and height / height of object '
                f'and background, above 0 and at most 1; got {self.scale:g}.')
        for name in ('at', 'size'):
            value = getattr(self, name)
            if value is not None and (len(value) != 2 or not np.isfinite(value).all()):
                raise UserValueError(f'{name} must be two numbers, got {value!r}.')
        if self.size is not None and min(self.size) <= 0:
            raise UserValueError(f'size must be above 0, got {tuple(self.size)}.')

    def decode(self, heat: Tensor, grid: PlacementGrid, background_wh: Sequence[int],
               object_wh: Sequence[int], taken: Sequence[Tensor] = (), name: str = ''
               ) -> Placements:
        """The best boxes that meet all wishes; none if no place is left.

        Args:
            heat: (S, H, W) scores.
            grid: That of the map.
            background_wh, object_wh: Width and height in pixels.
            taken: Further boxes (4,) to keep out of, of objects that were placed.
            name: Of the object, for messages.

        Raises:
            UserValueError: If a wish lies outside of the background or a fixed size is
                larger than it.
        """
        first, ratio = 0, self._ratio(background_wh, object_wh, name)
        if ratio is not None:
            first = _bin(grid, ratio)
            heat = heat[first:first + 1]
        exact, cell = ExactGrid(grid, ratio), None
        if self.at is not None:
            cell = Constraints.at_point(self.at, background_wh, grid).fixed_cell
            exact = ExactGrid.at_point(grid, self.at, cell, background_wh, ratio)
        found = decode(heat, exact, background_wh, object_wh, **self.options or {},
                       constraints=self._constraints(cell, background_wh, taken))
        shift = found.cells.new_tensor([first, 0, 0])
        return Placements(found.scores, found.cells + shift, found.boxes_xywh)

    def _ratio(self, background_wh: Sequence[int], object_wh: Sequence[int], name: str
               ) -> float | None:
        """max(w / W, h / H) of a fixed size."""
        if self.size is None:
            return self.scale
        share = min(room / side for room, side in zip(
            self.size, object_wh, strict=True))
        fitted = [share * side for side in object_wh]
        check_fits(fitted, background_wh, name)
        return max(side / whole for side, whole in zip(
            fitted, background_wh, strict=True))

    def _constraints(self, cell: tuple[int, int] | None, background_wh: Sequence[int],
                     taken: Sequence[Tensor]) -> Constraints:
        boxes, mask = [*taken], None
        if is_mask(self.avoid):
            mask = _mask('avoid', self.avoid, background_wh)
        elif self.avoid is not None:
            given = boxes_tensor(self.avoid, 'avoid')
            _check_boxes(given, background_wh)
            boxes += list(given)
        # Without wishes, boxes are those that the model's own predictions have.
        is_free = not taken and all(getattr(self, name) is None for name in _WISHES)
        return Constraints(
            fixed_cell=cell, forbidden=mask,
            inside=not is_free and (self.options or {}).get('keep_inside', True),
            forbidden_boxes=torch.stack([x.cpu() for x in boxes]) if boxes else None,
            allowed=None if self.allow is None else _mask(
                'allow', self.allow, background_wh))

    def sentence(self) -> str:
        """What was asked for, for a message: ' with at=(3, 4) and avoid'."""
        given = [f'{name}={value:g}' if name == 'scale' else f'{name}={tuple(value)}'
                 for name in _WISHES[:3] if (value := getattr(self, name)) is not None]
        given += [name for name in _WISHES[3:] if getattr(self, name) is not None]
        return f' with {", ".join(given)}' if given else ''


def is_mask(regions: np.ndarray | Sequence | None) -> bool:
    """Whether regions to avoid are a mask, not boxes."""
    return isinstance(regions, np.ndarray) and regions.dtype.kind == 'b'


def _mask(name: str, mask: np.ndarray, background_wh: Sequence[int]) -> Tensor:
    """A mask of the background, checked."""
    mask, (width, height) = np.asarray(mask), background_wh
    if mask.shape != (height, width):
        raise UserValueError(
            f'{name} is a mask of shape {mask.shape}, but the background has {height} '
            f'rows and {width} columns of pixels. Resize the mask.')
    if name == 'allow' and not mask.any():
        raise UserValueError('allow is a mask that allows no pixel: it must be white '
                             'where the center of the object may lie.')
    return torch.from_numpy(mask)


def _check_boxes(boxes: Tensor, background_wh: Sequence[int]) -> None:
    """Check that every box to avoid has a size and lies in the background."""
    whole = boxes.new_tensor([*background_wh])
    ends = boxes[:, :2] + boxes[:, 2:]
    good = ((boxes[:, 2:] > 0) & (ends > 0) & (boxes[:, :2] < whole)).all(1)
    if not good.all():
        box = boxes[~good][0].tolist()
        width, height = background_wh
        raise UserValueError(
            f'avoid: the box x={box[0]:g}, y={box[1]:g}, width={box[2]:g}, '
            f'height={box[3]:g} covers nothing of the background of {width} x {height} '
            'pixels.')


def _bin(grid: PlacementGrid, ratio: float) -> int:
    """The scale bin that holds a ratio."""
    box = torch.tensor([[0, 0, ratio, ratio]], dtype=torch.float64)
    return int(grid.cells(box, (1, 1))[0, 0])
