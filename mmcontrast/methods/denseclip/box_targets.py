"""Supervise the pixel-text score map by boxes: dense targets and their loss.

Source: DenseCLIP (CVPR 2022), the auxiliary loss of the released detectors. Everything
is computed on the device of the score map, without a loop over boxes and without
synchronization.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.functional import at_least_float


def pixel_text_loss(logits: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor],
                    image_size: tuple[int, int]) -> Tensor:
    """Binary cross entropy of every class over the cells inside boxes.

    A cell is positive for each class that has a box around it and negative for all
    others; cells outside all boxes are ignored.

    Args:
        logits: (B, K, h, w) score map, divided by its temperature.
        boxes: (M_i, 4) an image: x1, y1, x2, y2 in pixels of the padded image.
        labels: (M_i,) an image: class indices below K.
        image_size: Height and width of the padded image.

    Returns:
        Scalar: mean over the K classes and all covered cells. A batch without any
        covered cell gives 0 with a gradient path (the released code: NaN).
    """
    logits = at_least_float(logits)
    size, num_classes = logits.shape[-2:], logits.shape[1]
    image, cells, labels = _joined(boxes, labels, size, image_size)
    mask = covered_cells(cells, image, len(logits), size)
    # bce(s, t) = softplus(s) - s t, and t is zero but for the few classes present.
    every_class = (F.softplus(logits).sum(dim=1) * mask).sum()
    keys, rows = _class_rows(cells, image * num_classes + labels, logits.shape)
    positives = (logits.flatten(0, 1).index_select(0, keys) * rows).sum()
    return (every_class - positives) / (num_classes * mask.sum().clamp(min=1))


def dense_targets(boxes: Sequence[Tensor], labels: Sequence[Tensor], num_classes: int,
                  size: tuple[int, int], image_size: tuple[int, int]
                  ) -> tuple[Tensor, Tensor]:
    """The targets of :func:`pixel_text_loss` in full, for inspection.

    Returns:
        (B, K, h, w) bool, whether a box of the class covers the cell, and (B, h, w)
        bool, whether any box does.
    """
    image, cells, labels = _joined(boxes, labels, size, image_size)
    count = len(boxes)
    keys = image * num_classes + labels
    target = covered_cells(cells, keys, count * num_classes, size)
    return (target.unflatten(0, (count, num_classes)),
            covered_cells(cells, image, count, size))


def box_cells(boxes: Tensor, size: tuple[int, int], image_size: tuple[int, int]
              ) -> Tensor:
    """Cells of a map that boxes span, as the released code rounds them.

    Corners are truncated towards zero and kept within the map. As ends are exclusive,
    the last row and column of the map belong to no box, and a box thinner than a cell
    may span none.

    Args:
        boxes: (M, 4) pixels of an image of ``image_size``.
        size: Rows and columns of the map.

    Returns:
        (M, 4) int64: first column, first row, and the end column and row.
    """
    # Plain numbers a side: a tensor would be copied to the device. On a stride-4 map
    # the factor is exactly 1 / 4.
    x, y = (
        (boxes[:, axis::2] * (cells / pixels)).long().clamp(min=0, max=cells - 1)
        for axis, cells, pixels in zip((0, 1), size[::-1], image_size[::-1],
                                       strict=True))
    return torch.stack([x[:, 0], y[:, 0], torch.maximum(x[:, 0], x[:, 1]),
                        torch.maximum(y[:, 0], y[:, 1])], dim=1)


def covered_cells(cells: Tensor, map_index: Tensor, num_maps: int,
                  size: tuple[int, int]) -> Tensor:
    """Union of the boxes of each map.

    Args:
        cells: (M, 4) from :func:`box_cells`.
        map_index: (M,) the map that a box is drawn into.

    Returns:
        (num_maps, h, w) bool.
    """
    rows, cols = size
    x1, y1, x2, y2 = cells.unbind(1)
    # A box raises the double running sum at its first corner and lowers it past its
    # ends, so the cost does not depend on the number or the area of boxes.
    corners = torch.stack([y1 * (cols + 1) + x1, y2 * (cols + 1) + x2,
                           y1 * (cols + 1) + x2, y2 * (cols + 1) + x1])
    change = torch.ones_like(corners, dtype=torch.int32)
    change[2:] = -1
    edges = change.new_zeros(num_maps * (rows + 1) * (cols + 1))
    edges.index_add_(0, (corners + map_index * (rows + 1) * (cols + 1)).flatten(),
                     change.flatten())
    edges = edges.view(num_maps, rows + 1, cols + 1)
    count = edges.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return count[:, :rows, :cols] > 0


def _joined(boxes: Sequence[Tensor], labels: Sequence[Tensor], size: tuple[int, int],
            image_size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Image index, cells and label of every box of the batch."""
    image = torch.cat([x.new_full((len(x),), i) for i, x in enumerate(labels)])
    return image, box_cells(torch.cat(list(boxes)), size, image_size), torch.cat(
        list(labels))


def _class_rows(cells: Tensor, keys: Tensor, shape: torch.Size
                ) -> tuple[Tensor, Tensor]:
    """Target maps of the classes present: their flat index, and (R, h, w) bool.

    Boxes of one class in one image share the map of the first of them; the maps of the
    others stay empty. So the number of classes present, which would have to be read
    from the device, is not needed.
    """
    num_maps, num_boxes = shape[0] * shape[1], len(keys)
    if num_boxes > num_maps:
        every = torch.arange(num_maps, device=keys.device)
        return every, covered_cells(cells, keys, num_maps, shape[-2:])
    number = torch.arange(num_boxes, device=keys.device)
    first = keys.new_full((num_maps,), num_boxes).scatter_reduce_(
        0, keys, number, 'amin')
    return keys, covered_cells(cells, first[keys], num_boxes, shape[-2:])
