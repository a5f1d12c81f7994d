"""Lay out images in rows, with names below and legends beside them."""
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE, _TEXT = 10, 20, 15
_INK, _PALE = (33, 37, 41), (110, 110, 110)


@dataclass(frozen=True)
class SheetRow:
    """One row of an :func:`image_sheet`.

    Attributes:
        images: (H, W, 3) uint8, all of one size; as many in every row.
        name: Written below the images.
        legend: Color (None: no swatch) and text of each line.
    """

    images: Sequence[np.ndarray]
    name: str
    legend: Sequence[tuple[Sequence[int] | None, str]]


def image_sheet(rows: Sequence[SheetRow], width: int, title: str = '',
                headings: Sequence[str] = ()) -> Image.Image:
    """A sheet of rows of images, their names below and their legends to the right.

    Args:
        rows: Their images are at most ``width`` wide.
        width: Of a column, in pixels.
        title: Line above the rows.
        headings: What each column shows, above the first row.
    """
    font = ImageFont.load_default(_TEXT)
    heights = [max(row.images[0].shape[0], _LINE * len(row.legend)) for row in rows]
    columns = len(rows[0].images)
    right = _GAP + columns * (width + _GAP)
    texts = [text for row in rows for _, text in row.legend]
    legend = 26 + max((round(font.getlength(text)) for text in texts), default=0)
    head = _LINE * (bool(title) + bool(headings))
    sheet = Image.new('RGB', (
        max(right + legend + _GAP, round(font.getlength(title)) + 2 * _GAP),
        _GAP + head + sum(height + _LINE + _GAP for height in heights)), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_GAP, _GAP // 2), title, _INK, font)
    top = _GAP + head
    for column, heading in enumerate(headings):
        draw.text((_GAP + column * (width + _GAP), top - _LINE - _GAP // 2), heading,
                  _INK, font)
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row.images):
            sheet.paste(Image.fromarray(image),
                        (_GAP + column * (width + _GAP), top))
        for line, (color, text) in enumerate(row.legend):
            _legend_line(draw, (right, top + line * _LINE), color, text, font)
        name = truncate_left(row.name, font, columns * (width + _GAP) - _GAP)
        draw.text((_GAP, top + height + 1), name, _PALE, font)
        top += height + _LINE + _GAP
    return sheet


def _legend_line(draw: ImageDraw.ImageDraw, corner: tuple[int, int],
                 color: Sequence[int] | None, text: str,
                 font: ImageFont.FreeTypeFont) -> None:
    left, top = corner
    if color is not None:
        draw.rectangle((left, top + 3, left + 14, top + 15), tuple(color), _PALE)
    draw.text((left + 22, top), text, _INK, font)


def fitted_size(shape: Sequence[int], width: int) -> tuple[int, int]:
    """(width, height) of an image resized to fit into ``width`` x ``width`` pixels.

    Args:
        shape: (H, W, ...) of the image.
    """
    height, original = shape[:2]
    scale = width / max(height, original)
    return max(1, round(original * scale)), max(1, round(height * scale))


def truncate_left(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A line of at most ``width`` pixels; one too long loses its beginning."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f'...{line}') > width:
        line = line[1:]
    return f'...{line}'


def wrap_text(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """A text on two lines of about ``width`` pixels at most."""
    letters = max(4, int(width / font.getlength('n')))
    lines = textwrap.wrap(text, letters)
    if len(lines) > 2:
        lines = [lines[0], f'{lines[1][:max(1, letters - 3)]}...']
    return lines


def tile_columns(count: int, across: int, down: int, narrowest: int) -> int:
    """Columns for a sheet about 1.5 times as wide as high, with few empty tiles.

    Args:
        count: Tiles.
        across, down: Width and height of a tile with its margins, in pixels.
        narrowest: Width in pixels that the sheet needs for what stands above.
    """
    fewest = math.ceil(narrowest / across)
    ideal = max(round(math.sqrt(1.5 * count * down / across)), fewest)
    return min((ideal, ideal + 1, max(ideal - 1, fewest)),
               key=lambda columns: -count % columns)


def text_color(background: tuple[int, int, int]) -> str:
    """Black or white, whichever can be read on a color."""
    luma = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return 'black' if luma > 140 else 'white'
