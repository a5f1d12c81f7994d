"""Pictures of slots: the images that show each one best."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...visualization.sheet import truncate_left

_GAP, _LINE, _TEXT = 10, 20, 15
_INK, _PALE = (33, 37, 41), (110, 110, 110)


@dataclass(frozen=True)
class SlotRow:
    """What :func:`draw_nearest` shows of one slot.

    Attributes:
        slot: Its number.
        lines: Lines of text under the number.
        pictures: (S, S, 3) uint8 pictures, best first.
        captions: One a picture.
    """

    slot: int
    lines: Sequence[str]
    pictures: Sequence[np.ndarray]
    captions: Sequence[str]


def mark_region(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image whose masked pixels keep their colors while the rest pales.

    SlotCon's published pictures tint the region red instead, which hardly shows on
    some colors and hides those of the region.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    pale = (0.45 * image.mean(2, keepdims=True) + 0.5 * 255).astype(np.uint8)
    return np.where(mask[..., None], image, pale)


def draw_nearest(rows: Sequence[SlotRow], title: str, side: int = 160) -> Image.Image:
    """A sheet with a row a slot: the images that show it best.

    Args:
        title: Lines above the rows.
        side: Of a picture, in pixels.
    """
    font = ImageFont.load_default(_TEXT)
    large = ImageFont.load_default(_TEXT + 5)
    columns = max(len(row.pictures) for row in rows)
    label = 30 + max(round(font.getlength(text)) for row in rows
                     for text in (f'slot {row.slot}xx', *row.lines))
    step, lines = side + _LINE + _GAP, title.split('\n')
    head = _LINE * len(lines) + _GAP
    width = max(label + columns * (side + _GAP) + _GAP,
                2 * _GAP + max(round(font.getlength(line)) for line in lines))
    sheet = Image.new('RGB', (width, head + _GAP + step * len(rows)), 'white')
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((_GAP, _GAP // 2 + i * _LINE), line, _INK, font)
    for number, row in enumerate(rows):
        top = head + _GAP + number * step
        draw.text((_GAP, top), f'slot {row.slot}', _INK, large)
        for i, line in enumerate(row.lines):
            draw.text((_GAP, top + 30 + i * _LINE), line, _PALE, font)
        for column, (picture, caption) in enumerate(
                zip(row.pictures, row.captions, strict=True)):
            left = label + column * (side + _GAP)
            shown = Image.fromarray(picture).resize((side, side), Image.BICUBIC)
            sheet.paste(shown, (left, top))
            draw.text(
                (left, top + side + 1), truncate_left(caption, font, side), _PALE, font
            )
    return sheet
