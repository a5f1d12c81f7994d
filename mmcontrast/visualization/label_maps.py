"""Draw label maps: one color per label, over the image, with a legend."""
import colorsys
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .sheet import SheetRow, fitted_size, image_sheet

#: Of the first labels, easy to distinguish also beside each other.
COLORS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 100, 220), (245, 130, 48),
    (145, 30, 180), (70, 230, 240), (240, 50, 230), (190, 240, 60), (250, 175, 200),
    (0, 128, 128), (205, 175, 255), (155, 95, 35), (255, 250, 200), (128, 0, 0),
    (150, 245, 185), (128, 128, 0), (255, 205, 165), (0, 0, 128), (128, 128, 128))
# A region needs this share of the image to get a mark.
_MARKED = 0.01


def label_colors(ranks: Mapping[int, int], num_labels: int) -> np.ndarray:
    """A color for each label; the first ranks are easy to distinguish.

    Args:
        ranks: Rank of each label that is shown, from 0.

    Returns:
        (K, 3) uint8; labels that are not shown are black.
    """
    table = np.zeros((num_labels, 3), np.uint8)
    for label, rank in ranks.items():
        table[label] = COLORS[rank] if rank < len(COLORS) else _more_colors(rank)
    return table


def _more_colors(rank: int) -> tuple[int, ...]:
    """Beyond the list: hues by the golden ratio, three shades of each."""
    shade = ((0.85, 0.95), (0.45, 0.85), (0.9, 0.55))[rank % 3]
    return tuple(round(255 * value)
                 for value in colorsys.hsv_to_rgb(rank * 0.618034 % 1, *shade))


def label_overlay(image: np.ndarray, labels: np.ndarray, colors: np.ndarray,
                  strength: float = 0.6, mark: Callable[[int], str] | None = str
                  ) -> np.ndarray:
    """An image tinted with the colors of its labels, larger regions with a mark.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) integers in [0, K).
        colors: (K, 3) uint8.
        strength: Opacity of the color, in [0, 1].
        mark: What to write on a region of a label; nothing if None.
    """
    # In gray, so that a color means a label and nothing else.
    gray = image.mean(2, keepdims=True)
    shown = (1 - strength) * gray + strength * colors[labels]
    shown = shown.round().astype(np.uint8)
    if mark is None:
        return shown
    image = Image.fromarray(shown)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(11, min(18, image.width // 18)))
    for label in np.unique(labels):
        center = _middle_of_largest_region(labels == label)
        if center is None:
            continue
        text = mark(int(label))
        # Whole marks only, also in regions along an edge.
        half = draw.textbbox((0, 0), text, font, anchor='mm', stroke_width=2)[2:]
        center = [min(max(at, space + 1), size - space - 1) for at, space, size in zip(
            center, half, image.size, strict=True)]
        draw.text(center, text, 'white', font, anchor='mm', stroke_width=2,
                  stroke_fill='black')
    return np.asarray(image)


def _middle_of_largest_region(mask: np.ndarray) -> tuple[int, int] | None:
    """(x, y) farthest from the border of the largest connected part; None if small."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[largest, cv2.CC_STAT_AREA] < _MARKED * mask.size:
        return None
    part = np.pad((parts == largest).astype(np.uint8), 1)
    depth = cv2.distanceTransform(part, cv2.DIST_L2, 3)[1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    y, x = deepest[len(deepest) // 2]
    return int(x), int(y)


def draw_label_maps(images: Sequence[np.ndarray], maps: Sequence[np.ndarray],
                    names: Sequence[str], colors: np.ndarray, width: int = 360,
                    title: str = '', max_named: int = 10,
                    called: Callable[[int], str] = str,
                    mark: Callable[[int], str] | None = str) -> Image.Image:
    """A sheet with one row per image: the image, its labels, and a legend.

    Args:
        images: (H, W, 3) uint8 each, of any sizes.
        maps: (H, W) labels each.
        names: Written below the images.
        colors: (K, 3) uint8, one table for all rows.
        width: Of an image, in pixels; tall ones are made narrower.
        title: Line above the rows.
        max_named: Maximum number of labels in the legend of a row, the largest first.
        called: Function that names a label, for the legend.
        mark: Written on the larger regions, see :func:`label_overlay`.
    """
    rows = []
    for image, labels, name in zip(images, maps, names, strict=True):
        size = fitted_size(image.shape, width)
        small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
        cells = cv2.resize(labels.astype(np.float32), size,
                           interpolation=cv2.INTER_NEAREST).astype(int)
        rows.append(SheetRow(
            [small, label_overlay(small, cells, colors, mark=mark)], name,
            _shares(labels, colors, max_named, called)))
    return image_sheet(rows, width, title)


def _shares(labels: np.ndarray, colors: np.ndarray, max_named: int,
            called: Callable[[int], str]) -> list[tuple[tuple | None, str]]:
    """Legend of the labels with their shares, the largest first, the rest summed."""
    found, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    share = counts / labels.size
    named = [(tuple(colors[found[i]].tolist()),
              f'{called(int(found[i]))}  {_percent(share[i])}')
             for i in order[:max_named]]
    rest = order[max_named:]
    if len(rest):
        named.append((None, f'{len(rest)} more  {_percent(share[rest].sum())}'))
    return named


def _percent(share: float) -> str:
    return '<1 %' if share < 0.005 else f'{share:.0%}'.replace('%', ' %')
