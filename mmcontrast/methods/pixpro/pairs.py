"""Find the cells of two views that show the same part of the image."""
from collections.abc import Sequence

import torch
from torch import Tensor

from ...registry import FUNCTIONS
from ...structures import View, ViewBatch


def published_coords(views: ViewBatch) -> Tensor:
    """Crop edges in the convention of the released PixPro code.

    Relative to the whole image with pixel *centers* at both ends, so the right edge is
    ``(right - 1) / (width - 1)``; a mirrored view has left and right swapped, and the
    sign carries the flip through all later arithmetic.

    Returns:
        (N, 4) float32 (x_first, y_first, x_last, y_last) as the network sees the view.

    Raises:
        ValueError: If a view does not know the size of its source image.
    """
    extent = (views.source_sizes - 1).repeat(1, 2)
    if views.source_sizes.device.type == 'cpu' and bool((extent < 0).any()):
        raise ValueError(
            'PixPro coordinates are relative to the source image, but a View has no '
            'source_width and source_height; the TwoViews transform fills them in.')
    ends = views.boxes_xyxy - views.boxes_xyxy.new_tensor([0, 0, 1, 1])
    # A one-pixel-wide image has no extent; any divisor gives its only coordinate, 0.
    coords = ends / extent.clamp(min=1)
    return torch.where(views.flipped[:, None], coords[:, [2, 1, 0, 3]], coords)


def positive_pairs(coords_1: Tensor, coords_2: Tensor, shape_1: tuple[int, int],
                   shape_2: tuple[int, int], pos_ratio: float = 0.7) -> Tensor:
    """Pairs of cells whose centers lie closer than ``pos_ratio`` cell diagonals.

    Distances are divided by the larger of the two views' cell diagonals. With square
    cells the neighbor lies at 0.7071 diagonals, so 0.7 admits only the same cell for
    equal views.

    Source: PixPro (CVPR 2021), equation 1.

    Args:
        coords_1, coords_2: (N, 4) from :func:`published_coords`.
        shape_1, shape_2: (rows, columns) of the two feature maps.
        pos_ratio: Threshold, strict.

    Returns:
        (N, A, B) bool, A and B the cells of the two maps in row-major order.
    """
    return _relative_distance(coords_1, coords_2, shape_1, shape_2) < pos_ratio


@FUNCTIONS.register_module()
def cell_pairs(views: Sequence[View], map_size: tuple[int, int],
               pos_ratio: float = 0.7) -> Tensor:
    """(A, B) bool, the :func:`positive_pairs` of two views with maps of one size."""
    coords = [published_coords(ViewBatch.stack([view])) for view in views]
    return positive_pairs(*coords, map_size, map_size, pos_ratio)[0]


def _relative_distance(coords_1: Tensor, coords_2: Tensor, shape_1: tuple[int, int],
                       shape_2: tuple[int, int]) -> Tensor:
    x_1, y_1, diagonal_1 = _cell_centers(coords_1, shape_1)
    x_2, y_2, diagonal_2 = _cell_centers(coords_2, shape_2)
    # x depends on the column alone and y on the row alone, so the squares are taken on
    # the small tables and only their sum spans all pairs.
    dx = (x_1[:, :, None] - x_2[:, None, :]) ** 2          # (N, W1, W2)
    dy = (y_1[:, :, None] - y_2[:, None, :]) ** 2          # (N, H1, H2)
    square = dx[:, None, :, None, :] + dy[:, :, None, :, None]
    distance = square.flatten(3).flatten(1, 2).sqrt_()     # (N, A, B)
    return distance.div_(torch.maximum(diagonal_1, diagonal_2)[:, None, None])


def _cell_centers(coords: Tensor, shape: tuple[int, int]):
    rows, cols = shape
    left, top, right, bottom = coords[:, :, None].unbind(1)
    width, height = (right - left) / cols, (bottom - top) / rows   # signed
    x = left + (torch.arange(cols, device=coords.device) + 0.5) * width
    y = top + (torch.arange(rows, device=coords.device) + 0.5) * height
    return x, y, (width ** 2 + height ** 2).sqrt()[:, 0]


@torch.no_grad()
def pooled_keys(coords_1: Tensor, coords_2: Tensor, key_1: Tensor, key_2: Tensor,
                pos_ratio: float = 0.7, max_pairs: int = 2 ** 24
                ) -> tuple[Tensor, Tensor, Tensor]:
    """Sum, for each pixel of one view, of its positives in the other view.

    ``sum_ij M_ij (q_i . k_j) = sum_i q_i . (sum_j M_ij k_j)``: with the inner sum at
    hand, the loss and its gradient need neither the mask nor the similarities of all
    pairs. One mask serves both directions (it is the other's transpose) and is built
    for so many images at a time that it has at most ``max_pairs`` elements.

    Args:
        coords_1, coords_2: (N, 4) from :func:`published_coords`.
        key_1, key_2: (N, C, H, W) maps of the momentum branch.
        pos_ratio: See :func:`positive_pairs`.
        max_pairs: Bound on the elements of one mask (64 MB in float32).

    Returns:
        (N, C, A) sums over view 2 for the pixels of view 1, (N, C, B) sums over view 1
        for the pixels of view 2, and (N,) the number of pairs.
    """
    shape_1, shape_2 = key_1.shape[2:], key_2.shape[2:]
    key_1, key_2 = key_1.flatten(2), key_2.flatten(2)
    num_pairs = key_1.shape[2] * key_2.shape[2]
    sums_1, sums_2 = torch.empty_like(key_1), torch.empty_like(key_2)
    counts = key_1.new_empty(len(key_1))
    for part in torch.arange(len(key_1)).split(max(1, max_pairs // num_pairs)):
        images = slice(int(part[0]), int(part[-1]) + 1)
        mask = positive_pairs(coords_1[images], coords_2[images], shape_1, shape_2,
                              pos_ratio).to(key_1.dtype)
        torch.bmm(key_2[images], mask.transpose(1, 2), out=sums_1[images])
        torch.bmm(key_1[images], mask, out=sums_2[images])
        counts[images] = mask.sum((1, 2))
    return sums_1, sums_2, counts
