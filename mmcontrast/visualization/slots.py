"""Pictures of slots: which pixels each one takes, and the images that show it best."""
import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmcontrast.visualization.text import cut

#: Of the most used slots; far apart also beside each other.
COLOURS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 100, 220), (245, 130, 48),
    (145, 30, 180), (70, 230, 240), (240, 50, 230), (190, 240, 60), (250, 175, 200),
    (0, 128, 128), (205, 175, 255), (155, 95, 35), (255, 250, 200), (128, 0, 0),
    (150, 245, 185), (128, 128, 0), (255, 205, 165), (0, 0, 128), (128, 128, 128))
_GAP, _LINE, _TEXT = 10, 20, 15
_INK, _PALE = (33, 37, 41), (110, 110, 110)
# A region needs this share of the picture to carry its number.
_NUMBERED = 0.01


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
    """An image whose masked pixels keep their colours while the rest pales.

    SlotCon's published pictures tint the region red instead, which hardly shows on
    some colours and hides those of the region.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    pale = (0.45 * image.mean(2, keepdims=True) + 0.5 * 255).astype(np.uint8)
    return np.where(mask[..., None], image, pale)


def slot_colours(ranks: Mapping[int, int], num_slots: int) -> np.ndarray:
    """A colour for each slot, far apart among the first ranks.

    Args:
        ranks: Rank of each slot that is shown, from 0.

    Returns:
        (K, 3) uint8; slots that are not shown are black.
    """
    table = np.zeros((num_slots, 3), np.uint8)
    for slot, rank in ranks.items():
        table[slot] = COLOURS[rank] if rank < len(COLOURS) else _more_colours(rank)
    return table


def _more_colours(rank: int) -> tuple[int, ...]:
    """Beyond the list: hues by the golden ratio, three shades of each."""
    shade = ((0.85, 0.95), (0.45, 0.85), (0.9, 0.55))[rank % 3]
    return tuple(round(255 * value)
                 for value in colorsys.hsv_to_rgb(rank * 0.618034 % 1, *shade))


def slot_overlay(image: np.ndarray, slots: np.ndarray, colours: np.ndarray,
                 strength: float = 0.6, numbers: bool = True) -> np.ndarray:
    """An image in the colours of its slots, the larger regions with their number.

    Args:
        image: (H, W, 3) uint8.
        slots: (H, W) integers in [0, K).
        colours: (K, 3) uint8.
        strength: Share of the colour.
        numbers: Write the numbers.
    """
    # In grey, so that a colour means a slot and nothing else.
    grey = image.mean(2, keepdims=True)
    shown = ((1 - strength) * grey + strength * colours[slots]).round().astype(np.uint8)
    if not numbers:
        return shown
    picture = Image.fromarray(shown)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, min(18, image.shape[1] // 18)))
    for slot in np.unique(slots):
        place = _middle_of_largest_region(slots == slot)
        if place is None:
            continue
        # Whole numbers only, also in regions along an edge.
        half = draw.textbbox((0, 0), str(slot), font, anchor='mm', stroke_width=2)[2:]
        place = [min(max(at, space + 1), size - space - 1) for at, space, size in zip(
            place, half, picture.size, strict=True)]
        draw.text(place, str(slot), 'white', font, anchor='mm', stroke_width=2,
                  stroke_fill='black')
    return np.asarray(picture)


def _middle_of_largest_region(mask: np.ndarray) -> tuple[int, int] | None:
    """(x, y) farthest from the border of the largest connected part, if it is large."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[largest, cv2.CC_STAT_AREA] < _NUMBERED * mask.size:
        return None
    part = np.pad((parts == largest).astype(np.uint8), 1)
    depth = cv2.distanceTransform(part, cv2.DIST_L2, 3)[1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    y, x = deepest[len(deepest) // 2]
    return int(x), int(y)


def draw_overlays(images: Sequence[np.ndarray], maps: Sequence[np.ndarray],
                  names: Sequence[str], colours: np.ndarray, width: int = 360,
                  title: str = '', max_named: int = 10) -> Image.Image:
    """A sheet with a row an image: the image, its slots, and which colour is which.

    Args:
        images: (H, W, 3) uint8 each, of any sizes.
        maps: (H, W) slots each.
        names: Written below the images.
        colours: (K, 3) uint8, one table for all rows.
        width: Of a picture, in pixels; tall ones are made narrower.
        title: Line above the rows.
        max_named: Slots in the legend of a row, the largest first.
    """
    font = ImageFont.load_default(_TEXT)
    sizes = [_fit(image.shape, width) for image in images]
    legends = [_legend(slots, max_named) for slots in maps]
    heights = [max(height, _LINE * len(legend))
               for (_, height), legend in zip(sizes, legends, strict=True)]
    right = _GAP + 2 * (width + _GAP)
    legend_width = 26 + max(round(font.getlength(text))
                            for legend in legends for _, text in legend)
    head = _LINE * bool(title)
    sheet = Image.new('RGB', (
        max(right + legend_width + _GAP, round(font.getlength(title)) + 2 * _GAP),
        _GAP + head + sum(height + _LINE + _GAP for height in heights)), 'white')
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_GAP, _GAP // 2), title, _INK, font)
    top = _GAP + head
    for image, slots, name, size, legend, height in zip(
            images, maps, names, sizes, legends, heights, strict=True):
        small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
        cells = cv2.resize(slots.astype(np.float32), size,
                           interpolation=cv2.INTER_NEAREST).astype(int)
        sheet.paste(Image.fromarray(small), (_GAP, top))
        sheet.paste(Image.fromarray(slot_overlay(small, cells, colours)),
                    (2 * _GAP + width, top))
        for line, (slot, text) in enumerate(legend):
            _legend_line(draw, (right, top + line * _LINE), colours, slot, text, font)
        draw.text((_GAP, top + height + 1), cut(name, font, width), _PALE, font)
        top += height + _LINE + _GAP
    return sheet


def _legend(slots: np.ndarray, max_named: int) -> list[tuple[int, str]]:
    """(slot, text), the largest first; -1 sums up the rest."""
    found, counts = np.unique(slots, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    share = counts / slots.size
    named = [(int(found[i]), f'slot {found[i]}  {_percent(share[i])}')
             for i in order[:max_named]]
    rest = order[max_named:]
    if len(rest):
        named.append((-1, f'{len(rest)} more  {_percent(share[rest].sum())}'))
    return named


def _legend_line(draw: ImageDraw.ImageDraw, place: tuple[int, int],
                 colours: np.ndarray, slot: int, text: str,
                 font: ImageFont.FreeTypeFont) -> None:
    left, top = place
    if slot >= 0:
        draw.rectangle((left, top + 3, left + 14, top + 15), tuple(colours[slot]),
                       _PALE)
    draw.text((left + 22, top), text, _INK, font)


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
            draw.text((left, top + side + 1), cut(caption, font, side), _PALE, font)
    return sheet


def _fit(shape: Sequence[int], width: int) -> tuple[int, int]:
    """(width, height) in pixels that fit into ``width`` x ``width``."""
    height, original = shape[:2]
    scale = width / max(height, original)
    return max(1, round(original * scale)), max(1, round(height * scale))


def _percent(share: float) -> str:
    return '<1 %' if share < 0.005 else f'{share:.0%}'.replace('%', ' %')
