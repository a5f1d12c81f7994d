"""Turn heat maps into ranked boxes."""
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor
from torchvision.ops import box_convert, nms

from ...errors import UserValueError
from .candidates import Candidates
from .constraints import Constraints
from .grid import ROUNDING, PlacementGrid

# Boxes that suppression looks at first, and by how many times more if too few are left.
FIRST_BOXES, MORE_BOXES = 1000, 4


@dataclass(frozen=True)
class Placements:
    """Ranked places of an object in a background.

    Attributes:
        scores: (K,) best first.
        cells: (K, 3) int64, scale bin, row and column.
        boxes_xywh: (K, 4) float64, in pixels of the background.
    """

    scores: Tensor
    cells: Tensor
    boxes_xywh: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index) -> 'Placements':
        """Some of them; ``index`` as of a tensor's first axis."""
        return Placements(
            self.scores[index], self.cells[index], self.boxes_xywh[index])

    def cpu(self) -> 'Placements':
        """The same on the CPU."""
        return Placements(self.scores.cpu(), self.cells.cpu(), self.boxes_xywh.cpu())


def decode(heat: Tensor, grid: PlacementGrid, background_wh, object_wh, k: int = 5,
           window: int = 3, keep_inside: bool = True, nms_iou: float | None = None,
           constraints: Constraints | None = None) -> Placements:
    """The best boxes of one heat map; see :func:`decode_batch`.

    Args:
        heat: (S, H, W) scores.
        grid: That of the map.
        background_wh, object_wh: Width and height; of the object, the aspect counts.
    """
    return decode_batch(heat[None], grid, background_wh, object_wh, k, window,
                        keep_inside, nms_iou, constraints)[0]


def decode_batch(heat: Tensor, grid: PlacementGrid, background_wh, object_wh,
                 k: int = 5, window: int = 3, keep_inside: bool = True,
                 nms_iou: float | None = None, constraints: Constraints | None = None
                 ) -> list[Placements]:
    """The best boxes of every heat map of a batch.

    Candidates are the cells that equal the maximum of their neighborhood, scales
    included. Cells that constraints rule out count as lowest before the maximum is
    taken, so that the best of what remains is found; ``keep_inside`` drops boxes that
    leave the background after it, and ``Constraints(inside=True)`` rules them out
    before. Of equal scores the first in the flat order of the map leads.

    The paper (arXiv 2304.03372) does not describe its decoding; this one is ours.

    Args:
        heat: (B, S, H, W) scores.
        grid: That of the maps.
        background_wh, object_wh: Width and height, (2,) for all or (B, 2).
        k: Largest number of boxes; there may be fewer candidates.
        window: Side of the neighborhood in cells, odd; 1: every cell is a candidate.
        keep_inside: Drop boxes that leave the background.
        nms_iou: Drop boxes that overlap a better one by a higher IoU; None: keep all.
        constraints: Those of the user, for all maps.

    Returns:
        B placements, on the device of ``heat``.

    Raises:
        ValueError: If an argument is out of range or a shape does not fit.
    """
    check_ranking(k, window, nms_iou)
    backgrounds = _pairs(background_wh, heat, 'background_wh')
    objects = _pairs(object_wh, heat, 'object_wh')
    if constraints is not None and constraints.is_exact and len(heat) > 1:
        # The boxes of each map lie on a grid of their own.
        return [decode(single, grid, *sizes, k, window, keep_inside, nms_iou,
                       constraints)
                for single, *sizes in zip(heat, backgrounds, objects, strict=True)]
    return rank(Candidates(heat, grid, backgrounds, objects, constraints),
                k, window, keep_inside, nms_iou)


def rank(candidates: Candidates, k: int = 5, window: int = 3, keep_inside: bool = True,
         nms_iou: float | None = None) -> list[Placements]:
    """The best boxes of every map, among the cells that are left.

    Args:
        candidates: Of B maps.
        k, window, keep_inside, nms_iou: As of :func:`decode_batch`.

    Returns:
        B placements.

    Raises:
        UserValueError: If a map has no boxes because its scores are NaN.
    """
    heat = candidates.heat
    image, *cell = _peaks(heat, window).nonzero(as_tuple=True)
    cells = torch.stack(cell, 1) + candidates.first
    found = Placements(
        heat[(image, *cell)], cells, candidates.boxes(cells, image))
    if keep_inside:
        inside = is_inside(found.boxes_xywh, candidates.background_wh[image])
        found, image = found[inside], image[inside]
    ranked = _first_of_each(found, image, len(heat), k, nms_iou)
    for scores, best in zip(heat, ranked, strict=True):
        if not len(best):
            check_scores(scores)  # NaN has no maximum
    return ranked


def _peaks(heat: Tensor, window: int) -> Tensor:
    """:func:`is_peak`; on a CPU a map at a time, which stays in its cache."""
    if heat.is_cuda or len(heat) < 2:
        return is_peak(heat, window)
    return torch.cat([is_peak(single, window) for single in heat.split(1)])


def is_peak(heat: Tensor, window: int) -> Tensor:
    """Which cells equal the maximum of ``window`` cells along each axis.

    Args:
        heat: (B, S, H, W). -inf is never a peak.
        window: Odd.

    Returns:
        (B, S, H, W) bool.
    """
    # Axis by axis, and by shifted copies: many times faster on a CPU than max_pool3d.
    highest = heat
    for axis in (1, 2, 3):
        line, length = highest, highest.shape[axis]
        highest = line.clone()
        for step in range(1, min(window // 2, length - 1) + 1):
            left = highest.narrow(axis, 0, length - step)
            torch.maximum(left, line.narrow(axis, step, length - step), out=left)
            right = highest.narrow(axis, step, length - step)
            torch.maximum(right, line.narrow(axis, 0, length - step), out=right)
    return (heat == highest) & (heat > -torch.inf)


def is_inside(boxes_xywh: Tensor, background_wh: Tensor) -> Tensor:
    """(N,) bool: which boxes do not leave their background (N, 2)."""
    ends = boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    return ((boxes_xywh[:, :2] >= -ROUNDING)
            & (ends <= background_wh + ROUNDING)).all(1)


def _first_of_each(found: Placements, image: Tensor, batch: int, k: int,
                   nms_iou: float | None) -> list[Placements]:
    """The best k of every image, from candidates in the flat order of their maps."""
    order = found.scores.sort(descending=True, stable=True).indices
    order = order[image[order].sort(stable=True).indices]
    counts = torch.bincount(image, minlength=batch).tolist()
    chosen = []
    for mine in order.split(counts):
        if nms_iou is not None:
            mine = mine[_suppress(found[mine], k, nms_iou)]
        chosen.append(found[mine[:k]])
    return chosen


def _suppress(ranked: Placements, k: int, nms_iou: float) -> Tensor:
    """Index of the boxes that no better one suppresses, best first, at least the
    first k.

    Suppression runs from better to worse boxes, so a few of the best are enough.
    """
    count = FIRST_BOXES
    boxes = box_convert(ranked.boxes_xywh, 'xywh', 'xyxy')
    # The ranks as scores: ties keep their order.
    ranks = -torch.arange(len(boxes), dtype=boxes.dtype, device=boxes.device)
    while True:
        kept = nms(boxes[:count], ranks[:count], nms_iou)
        if len(kept) >= k or count >= len(boxes):
            return kept
        count *= MORE_BOXES


def _pairs(sizes, heat: Tensor, name: str) -> Tensor:
    """(2,) or (B, 2) -> (B, 2) float64 on the device of the maps."""
    sizes = torch.as_tensor(sizes, dtype=torch.float64, device=heat.device)
    if sizes.shape not in ((2,), (len(heat), 2)):
        raise UserValueError(
            f'{name} must be (width, height), or one pair for each of the '
            f'{len(heat)} maps, got shape {tuple(sizes.shape)}.')
    return sizes.expand(len(heat), 2)


def check_scores(heat: Tensor) -> None:
    """Check that scores are numbers.

    Raises:
        UserValueError: If some are NaN.
    """
    if heat.isnan().any():
        raise UserValueError(
            'scores are NaN: the weights of the model, or its inputs, are no finite '
            'numbers. Check the checkpoint and the loss of its training.')


def check_ranking(k: int = 5, window: int = 3, nms_iou: float | None = None) -> None:
    """Check arguments of :func:`decode_batch`.

    Raises:
        UserValueError: If one is out of range.
    """
    if (not all(isinstance(count, Integral) and count > 0 for count in (k, window))
            or window % 2 == 0):
        raise UserValueError('k must be positive and window odd, both whole numbers, '
                             f'got k={k!r}, window={window!r}.')
    if nms_iou is not None and not (isinstance(nms_iou, Real) and 0 <= nms_iou <= 1):
        raise UserValueError(f'nms_iou must be from 0 to 1 or None, got {nms_iou!r}.')
