"""Make mask targets of RoIs: soft values from masks stored in their boxes.

Source: DITO (arXiv 2310.00161), the released code. Its coordinates are kept: the
samples of a stored mask span its box from edge to edge, and sample n is then read as
lying at n, of 112 a side.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .roi_targets import SampledRoIs


def store_masks(masks, boxes: Tensor, size: int = 112) -> Tensor:
    """Resample each mask within its box.

    Sampled where the masks are, usually on the CPU, so that only small masks move to
    the device of the boxes.

    Args:
        masks: (G, H, W) tensor, or mmdet's ``BitmapMasks`` or ``PolygonMasks`` of the
            whole image.
        boxes: (G, 4) x1, y1, x2, y2 in pixels of that image.
        size: Rows and columns m of a stored mask.

    Returns:
        (G, m, m) float32 in [0, 1], on the device of ``boxes``.
    """
    if not isinstance(masks, Tensor):
        masks = torch.from_numpy(masks.to_ndarray())
    if len(masks) != len(boxes):
        raise ValueError(f'Every box needs a mask: got {len(boxes)} boxes and '
                         f'{len(masks)} masks. Load the annotations with masks, and '
                         'filter both alike.')
    height, width = masks.shape[1:]
    x1, y1, x2, y2 = boxes.detach().float().to(masks.device).unbind(-1)
    step = torch.arange(size, device=masks.device) / (size - 1)
    rows = (y1[:, None] + step * (y2 - y1)[:, None]) * ((height - 1) / height)
    cols = (x1[:, None] + step * (x2 - x1)[:, None]) * ((width - 1) / width)
    index = torch.arange(len(masks), device=masks.device)
    return _sampled(masks, index, rows, cols).to(boxes.device)


def mask_targets(stored: Tensor, index: Tensor, gt_boxes: Tensor, boxes: Tensor,
                 size: int = 28) -> Tensor:
    """Stored masks in the frames of RoIs.

    Args:
        stored: (M, m, m) from :func:`store_masks`.
        index: (R,) int64, the stored mask of each RoI.
        gt_boxes: (R, 4) the box of that mask.
        boxes: (R, 4) the RoIs.
        size: Rows and columns s of the targets.

    Returns:
        (R, s, s) float32 in [0, 1], 0 outside the box of the mask.
    """
    side = stored.shape[-1]
    scale = side / (gt_boxes[:, 2:] - gt_boxes[:, :2]).clamp(min=1e-8)
    start = (boxes[:, :2] - gt_boxes[:, :2]) * scale
    step = (boxes[:, 2:] - boxes[:, :2]) * scale / size
    bins = torch.arange(size, device=boxes.device)[:, None] + 0.5
    cols, rows = (start[:, None] + bins * step[:, None]).unbind(-1)
    return _sampled(stored, index, rows, cols)


@torch.no_grad()
def sampled_mask_targets(sampled: SampledRoIs, index: Tensor,
                         stored: Sequence[Tensor], gt_boxes: Sequence[Tensor],
                         size: int = 28) -> Tensor:
    """Targets of the RoIs of a batch that the mask head sees.

    Args:
        sampled: Of B images.
        index: (B, n) from :meth:`SampledRoIs.first_positives`.
        stored: (G_i, m, m) an image.
        gt_boxes: (G_i, 4) an image.
        size: Rows and columns s of the targets.

    Returns:
        (B, n, s, s); rows that are not positive hold any values.
    """
    # A row of padding, for images without ground truth.
    stored, gt = (F.pad(pad_sequence(list(rows), batch_first=True),
                        (0, 0) * (rows[0].ndim - 1) + (0, 1))
                  for rows in (stored, gt_boxes))
    which = sampled.gt_index.gather(1, index)
    every = index[..., None].expand(-1, -1, 4)
    boxes = sampled.boxes.gather(1, every)
    owners = gt.float().gather(1, which[..., None].expand(-1, -1, 4))
    image = torch.arange(len(index), device=index.device)[:, None]
    targets = mask_targets(
        stored.flatten(0, 1), (which + image * stored.shape[1]).flatten(),
        owners.flatten(0, 1), boxes.flatten(0, 1), size)
    return targets.unflatten(0, index.shape)


def _sampled(maps: Tensor, index: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Bilinear samples of maps at a grid of rows and columns, 0 outside.

    Args:
        maps: (M, H, W), cell n at coordinate n.
        index: (R,) the map of each grid.
        rows, cols: (R, a) and (R, b).

    Returns:
        (R, a, b) float32.
    """
    height, width = maps.shape[1:]
    row, row_weights = _taps(rows, height)
    col, col_weights = _taps(cols, width)
    first = index[:, None, None] * (height * width)
    flat, total = maps.flatten(), 0
    for y, wy in zip(row, row_weights, strict=True):
        for x, wx in zip(col, col_weights, strict=True):
            place = first + y[:, :, None] * width + x[:, None]
            total = total + flat[place] * (wy[:, :, None] * wx[:, None])
    return total


def _taps(place: Tensor, length: int) -> tuple[tuple, tuple]:
    """The two cells beside each place, within the map, and their weights."""
    cells = place.floor(), place.floor() + 1
    weights = (cells[1] - place, place - cells[0])
    weights = tuple(weight.where((cell >= 0) & (cell < length), 0)
                    for cell, weight in zip(cells, weights, strict=True))
    return tuple(cell.clamp(0, length - 1).long() for cell in cells), weights
