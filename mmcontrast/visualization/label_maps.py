"""Label maps as pictures: a color a label, over the image, with a legend."""
import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .text import truncate_left

#: Of the first labels; far apart also beside each other.
COLORS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 100, 220), (245, 130, 48),
    (145, 30, 180), (70, 230, 240), (240, 50, 230), (190, 240, 60), (250, 175, 200),
    (0, 128, 128), (205, 175, 255), (155, 95, 35), (255, 250, 200), (128, 0, 0),
    (150, 245, 185), (128, 128, 0), (255, 205, 165), (0, 0, 128), (128, 128, 128))
_GAP, _LINE, _TEXT = 10, 20, 15
_INK, _PALE = (33, 37, 41), (110, 110, 110)
# A region needs this share of the picture to carry its mark.
_MARKED = 0.01


@dataclass(frozen=True)
class SheetRow:
    """What :func:`image_sheet` shows of one image.

    Attributes:
        pictures: (H, W, 3) uint8, all of one size; as many in every row.
        name: Written below them.
        legend: Color (None: no swatch) and text of each line.
    """

    pictures: Sequence[np.ndarray]
    name: str
    legend: Sequence[tuple[Sequence[int] | None, str]]


def label_colors(ranks: Mapping[int, int], num_labels: int) -> np.ndarray:
    """A color for each label, far apart among the first ranks.

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
    """An image in the colors of its labels, the larger regions with their mark.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) integers in [0, K).
        colors: (K, 3) uint8.
        strength: Share of the color.
        mark: What to write on a region of a label; nothing if None.
    """
    # In gray, so that a color means a label and nothing else.
    gray = image.mean(2, keepdims=True)
    shown = (1 - strength) * gray + strength * colors[labels]
    shown = shown.round().astype(np.uint8)
    if mark is None:
        return shown
    picture = Image.fromarray(shown)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, min(18, image.shape[1] // 18)))
    for label in np.unique(labels):
        place = _middle_of_largest_region(labels == label)
        if place is None:
            continue
        text = mark(int(label))
        # Whole marks only, also in regions along an edge.
        half = draw.textbbox((0, 0), text, font, anchor='mm', stroke_width=2)[2:]
        place = [min(max(at, space + 1), size - space - 1) for at, space, size in zip(
            place, half, picture.size, strict=True)]
        draw.text(place, text, 'white', font, anchor='mm', stroke_width=2,
                  stroke_fill='black')
    return np.asarray(picture)


def _middle_of_largest_region(mask: np.ndarray) -> tuple[int, int] | None:
    """(x, y) farthest from the border of the largest connected part, if it is large."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[largest, cv2.CC_STAT_AREA] < _MARKED * mask.size:
        return None
    part = np.pad((parts == largest).astype(np.uint8), 1)
    depth = cv2.distanceTransform(part, cv2.DIST_L2, 3)[1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    y, x = deepest[len(deepest) // 2]
    return int(x), int(y)


def draw_overlays(images: Sequence[np.ndarray], maps: Sequence[np.ndarray],
                  names: Sequence[str], colors: np.ndarray, width: int = 360,
                  title: str = '', max_named: int = 10,
                  called: Callable[[int], str] = str,
                  mark: Callable[[int], str] | None = str) -> Image.Image:
    """A sheet with a row an image: the image, its labels, and which color is which.

    Args:
        images: (H, W, 3) uint8 each, of any sizes.
        maps: (H, W) labels each.
        names: Written below the images.
        colors: (K, 3) uint8, one table for all rows.
        width: Of a picture, in pixels; tall ones are made narrower.
        title: Line above the rows.
        max_named: Labels in the legend of a row, the largest first.
        called: Name of a label, for the legend.
        mark: Written on the larger regions, see :func:`label_overlay`.
    """
    rows = []
    for image, labels, name in zip(images, maps, names, strict=True):
        size = fitted(image.shape, width)
        small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
        cells = cv2.resize(labels.astype(np.float32), size,
                           interpolation=cv2.INTER_NEAREST).astype(int)
        rows.append(SheetRow(
            [small, label_overlay(small, cells, colors, mark=mark)], name,
            _shares(labels, colors, max_named, called)))
    return image_sheet(rows, width, title)


def _shares(labels: np.ndarray, colors: np.ndarray, max_named: int,
            called: Callable[[int], str]) -> list[tuple[tuple | None, str]]:
    """Legend of the labels with their shares, the largest first, the rest summed up."""
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


def image_sheet(rows: Sequence[SheetRow], width: int, title: str = '') -> Image.Image:
    """A sheet of rows of pictures, their names below and their legends to the right.

    Args:
        rows: Their pictures are at most ``width`` wide.
        width: Of a column, in pixels.
        title: Line above the rows.
    """
    font = ImageFont.load_default(_TEXT)
    heights = [max(row.pictures[0].shape[0], _LINE * len(row.legend)) for row in rows]
    columns = len(rows[0].pictures)
    right = _GAP + columns * (width + _GAP)
    texts = [text for row in rows for _, text in row.legend]
    legend = 26 + max((round(font.getlength(text)) for text in texts), default=0)
    head = _LINE * bool(title)
    sheet = Image.new('RGB', (
        max(right + legend + _GAP, round(font.getlength(title)) + 2 * _GAP),
        _GAP + head + sum(height + _LINE + _GAP for height in heights)), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_GAP, _GAP // 2), title, _INK, font)
    top = _GAP + head
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row.pictures):
            sheet.paste(Image.fromarray(picture),
                        (_GAP + column * (width + _GAP), top))
        for line, (color, text) in enumerate(row.legend):
            _legend_line(draw, (right, top + line * _LINE), color, text, font)
        name = truncate_left(row.name, font, columns * (width + _GAP) - _GAP)
        draw.text((_GAP, top + height + 1), name, _PALE, font)
        top += height + _LINE + _GAP
    return sheet


def _legend_line(draw: ImageDraw.ImageDraw, place: tuple[int, int],
                 color: Sequence[int] | None, text: str,
                 font: ImageFont.FreeTypeFont) -> None:
    left, top = place
    if color is not None:
        draw.rectangle((left, top + 3, left + 14, top + 15), tuple(color), _PALE)
    draw.text((left + 22, top), text, _INK, font)


def fitted(shape: Sequence[int], width: int) -> tuple[int, int]:
    """(width, height) in pixels that fit into ``width`` x ``width``."""
    height, original = shape[:2]
    scale = width / max(height, original)
    return max(1, round(original * scale)), max(1, round(height * scale))


def _percent(share: float) -> str:
    return '<1 %' if share < 0.005 else f'{share:.0%}'.replace('%', ' %')
