"""Search places and sizes of an object over sixteen scales, as FOPA's protocol does."""
from collections.abc import Sequence

import torch
from torch import Tensor

from .decoding import Placements, check_ranking, check_scores, is_peak

NUM_SCALES = 16


def scale_sizes(background_wh: Sequence[int], object_wh: Sequence[int],
                num_scales: int = NUM_SCALES) -> Tensor:
    """Width and height of the object at each scale.

    Scale i of 1 to S is i / (S + 2) of the background's height, or of its width if the
    object is the wider of the two; sides are cut to whole pixels.

    Source: FOPA, ``prepare_multi_fg_scales.py`` (commit 7f990e0). A side is at least
    one pixel here; the released script fails on an object that is too thin.

    Returns:
        (S, 2) int64.
    """
    (width, height), (object_w, object_h) = background_wh, object_wh
    ratios = torch.arange(1, num_scales + 1, dtype=torch.float64) / (num_scales + 2)
    if object_h / object_w > height / width:
        new_h = height * ratios
        new_w = new_h / object_h * object_w
    else:
        new_w = width * ratios
        new_h = new_w / object_w * object_h
    return torch.stack([new_w, new_h], 1).long().clamp(min=1)


def rank_placements(heat: Tensor, sizes_wh: Tensor, background_wh: Sequence[int],
                    k: int = 50, window: int = 1) -> Placements:
    """Rank the cells of all scales together.

    Cells whose box would leave the background are left out: a border of half the
    object. Equal scores keep the order (scale, row, column).

    Source: FOPA, ``test_multi_fg_scales.py`` (commit 7f990e0). Differences: scores stay
    floats, where the released scripts write 8-bit JPEG in between; an object of less
    than two cells has no border, where theirs discards the whole scale; cells in the
    border are dropped, not scored 0.

    Args:
        heat: (S, rows, columns) plausibility.
        sizes_wh: (S, 2) of the object at each scale, from :func:`scale_sizes`.
        background_wh: In pixels.
        k: Number of placements at most.
        window: Keep a cell only if none scores higher within a cube of this odd side; 1
            keeps all, as the protocol does.

    Returns:
        At most ``k`` placements; fewer if fewer cells remain.

    Raises:
        UserValueError: If the window is even, ``k`` is not positive, or scores are NaN.
    """
    check_ranking(k, window)
    heat = heat.float()
    ranked = heat.masked_fill(~inside_border(heat, sizes_wh, background_wh), -torch.inf)
    if window > 1:
        ranked = ranked.masked_fill(~is_peak(ranked[None], window)[0], -torch.inf)
    flat = ranked.flatten()
    # topk does not say which of equals it takes: all of them, then a stable sort.
    least = flat.topk(min(k, len(flat))).values[-1]
    found = ((flat >= least) & flat.isfinite()).nonzero()[:, 0]
    if not len(found):
        check_scores(heat)
    scores, order = flat[found].sort(descending=True, stable=True)
    cells = torch.stack(torch.unravel_index(found[order[:k]], heat.shape), 1)
    boxes = cell_boxes(cells, heat.shape[1:], sizes_wh, background_wh)
    return Placements(scores[:k], cells, boxes)


def inside_border(heat: Tensor, sizes_wh: Tensor, background_wh: Sequence[int]
                  ) -> Tensor:
    """(S, rows, columns) bool: the cells at least half an object from the border."""
    sides = []
    for axis, cells in ((1, heat.shape[1]), (0, heat.shape[2])):
        sizes = sizes_wh[:, axis].to(heat.device, torch.float64)
        border = (sizes / background_wh[axis] * cells / 2).long()[:, None]
        place = torch.arange(cells, device=heat.device)
        sides.append((place >= border) & (place < cells - border))
    rows, columns = sides
    return rows[:, :, None] & columns[:, None]


def cell_boxes(cells: Tensor, grid: Sequence[int], sizes_wh: Tensor,
               background_wh: Sequence[int]) -> Tensor:
    """(K, 4) float64 boxes of cells; edges are cut toward zero to whole pixels.

    The center of column x of C is at x / C of the width, without half a cell.
    """
    kind = dict(dtype=torch.float64, device=cells.device)
    rows, columns = grid
    sizes = sizes_wh.to(**kind)[cells[:, 0]]
    shares = cells[:, [2, 1]] / torch.tensor([columns, rows], **kind)
    corners = shares * torch.tensor(background_wh, **kind) - sizes / 2
    return torch.cat([corners.trunc(), sizes], 1)
