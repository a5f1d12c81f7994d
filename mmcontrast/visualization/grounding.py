"""Draw what was found for phrases in an image: boxes, mask, and whether it is there."""
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..structures import GroundedPhrase
from .heat_maps import HEAT
from .sheet import (
    SheetRow,
    fitted_size,
    image_sheet,
    text_color,
    tile_columns,
    truncate_left,
    wrap_text,
)

_GAP, _TEXT, _LINE, _HEAD = 10, 15, 19, 30
_INK, _PALE, _THERE, _ABSENT = (33, 37, 41), (110,) * 3, (0, 120, 60), (190, 20, 40)
_COLOR = (0, 200, 255)
# Opacity of a mask, and of the white over an image without the target.
_TINT, _FADED = 0.45, 0.55
# Longest side of a tile in pixels, by the number of tiles.
_TILES = ((3, 420), (6, 320), (12, 260), (24, 200))
_SMALLEST_TILE = 190
# Longest side of an image with its proposals; rows and lines of the legend.
_PROPOSALS, _ROWS, _LISTED = 480, 100, 24


def draw_phrases(image: np.ndarray, found: Sequence[GroundedPhrase], name: str
                 ) -> Image.Image:
    """The image, and a panel for each phrase.

    A panel shows the mask with its contour and the boxes with their scores; below are
    the phrase, the number of boxes or "not there", the probability that it exists and
    the best score. The image of a phrase that is not there is gray and pale.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: What was found, in pixels of the image.
        name: Of the image.
    """
    count = len(found) + 1
    size = fitted_size(image.shape, next(
        (tile for most, tile in _TILES if count <= most), _SMALLEST_TILE))
    small = _resized(image, size)
    font = ImageFont.load_default(_TEXT)
    tile_width = max(size[0], _SMALLEST_TILE)
    captions = [wrap_text(each.phrase, tile_width, font) for each in found]
    across = tile_width + _GAP
    down = size[1] + _LINE * (2 + max(map(len, captions))) + 2 * _GAP
    columns = tile_columns(count, across, down, narrowest=2 * across)
    sheet = Image.new('RGB', (
        _GAP + columns * across, _HEAD + math.ceil(count / columns) * down), 'white')
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 6), truncate_left(name, font, sheet.width - 2 * _GAP), _INK, font)
    sheet.paste(Image.fromarray(small), (_GAP, _HEAD))
    for number, (each, lines) in enumerate(zip(found, captions, strict=True), 1):
        row, column = divmod(number, columns)
        left, top = _GAP + column * across, _HEAD + row * down
        sheet.paste(_panel(small, image.shape, each), (left, top))
        _caption(draw, font, (left, top + size[1] + 2), lines, each)
    return sheet


def draw_proposals(image: np.ndarray, found: Sequence[GroundedPhrase], name: str
                   ) -> Image.Image:
    """A row for each phrase: all proposals in the color of their score, with a list.

    Proposals that were kept as boxes are thick. Of very many phrases, the first are
    drawn.

    Args:
        image, found, name: As of :func:`draw_phrases`.
    """
    size = fitted_size(image.shape, _PROPOSALS)
    gray = _pale(_resized(image, size), 0.25)
    rows = []
    for each in found[:_ROWS]:
        scores = each.proposal_scores
        colors = HEAT[(scores.clip(0, 1) * 230).astype(int)].tolist()
        drawn = Image.fromarray(gray)
        pen = ImageDraw.Draw(drawn)
        boxes = _scaled(each.proposals_xyxy, image.shape, size)
        kept = _is_kept(each)
        # The best last, on top of the others.
        for rank in range(len(scores))[::-1]:
            box_with_text(pen, boxes[rank], tuple(colors[rank]), str(rank + 1),
                 width=4 if kept[rank] else 2)
        legend = [(None, text) for text in (each.phrase, *_verdict(each))]
        legend += [(color, f'{rank}  {score:.3f}{"  box" * bool(is_box)}')
                   for rank, (color, score, is_box) in enumerate(
                       zip(colors, scores.tolist(), kept, strict=True), 1)][:_LISTED]
        rows.append(SheetRow([np.asarray(drawn)], name, legend))
    return image_sheet(rows, size[0], 'proposals by their scores, the best first')


def _panel(small: np.ndarray, shape: Sequence[int], found: GroundedPhrase
           ) -> Image.Image:
    """An image with what was found for one phrase."""
    if not found.exists:
        return Image.fromarray(_pale(small, _FADED))
    size = small.shape[1::-1]
    mask = np.asarray(Image.fromarray(found.mask).resize(size))
    panel = Image.fromarray(tinted(small, mask))
    pen = ImageDraw.Draw(panel)
    boxes = _scaled(found.boxes_xyxy, shape, size)
    for box, score in list(zip(boxes, found.scores.tolist(), strict=True))[::-1]:
        box_with_text(pen, box, _COLOR, f'{score:.2f}', width=3)
    return panel


def tinted(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The (H, W, 3) image with a tint and a contour where the (H, W) mask is."""
    shown = image.astype(np.float32)
    shown[mask] += _TINT * (np.float32(_COLOR) - shown[mask])
    shown = shown.round().astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST,
                                   cv2.CHAIN_APPROX_NONE)
    for width, shade in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.drawContours(shown, contours, -1, shade, width)
    return shown


def box_with_text(pen: ImageDraw.ImageDraw, box: np.ndarray, color: tuple[int, ...],
                  text: str, width: int) -> None:
    """Draw a box with a dark edge, and a text in its corner.

    Args:
        box: (4,) left, top, right, bottom in pixels of the image.
        color: Of the box, RGB.
        text: A few letters.
        width: Of the line in pixels.
    """
    left, top, right, bottom = box.round().astype(int).tolist()
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), None, 'black', width + 2)
    pen.rectangle((left, top, right, bottom), None, color, width)
    font = ImageFont.load_default(13)
    # Whole texts only, also of boxes that end beyond the right or lower edge.
    text_width, text_height = round(font.getlength(text)) + 6, 17
    x = max(0, min(left, pen.im.size[0] - text_width))
    y = max(0, min(top, pen.im.size[1] - text_height))
    pen.rectangle((x, y, x + text_width, y + text_height), color)
    pen.text((x + 3, y + 1), text, text_color(color), font)


def _caption(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont,
             corner: tuple[int, int], lines: Sequence[str], found: GroundedPhrase
             ) -> None:
    left, top = corner
    for i, line in enumerate(lines):
        draw.text((left, top + i * _LINE), line, _INK, font)
    verdict, measured = _verdict(found)
    top += len(lines) * _LINE
    draw.text((left, top), verdict, _THERE if found.exists else _ABSENT, font)
    draw.text((left, top + _LINE), measured, _PALE, font)


def _verdict(found: GroundedPhrase) -> tuple[str, str]:
    """How many boxes, or 'not there'; and what that was decided by."""
    count = len(found.scores)
    measured = []
    if found.exists_prob is not None:
        measured.append(f'exists {found.exists_prob:.2f}')
    # Annotations have no proposals.
    if len(found.proposal_scores):
        measured.append(f'best score {found.proposal_scores[0]:.2f}')
    return (f'{count} box{"es" * (count != 1)}' if found.exists else 'not there',
            ', '.join(measured))


def _is_kept(found: GroundedPhrase) -> list[bool]:
    """Which proposals are among the boxes."""
    boxes = {tuple(box) for box in found.boxes_xyxy.tolist()}
    return [tuple(box) in boxes for box in found.proposals_xyxy.tolist()]


def _pale(image: np.ndarray, share: float) -> np.ndarray:
    """The image in gray, with this share of white over it."""
    gray = image.mean(2, keepdims=True).repeat(3, axis=2)
    return ((1 - share) * gray + share * 255).round().astype(np.uint8)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))


def _scaled(boxes: np.ndarray, shape: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Boxes in pixels of a drawn image."""
    return boxes * np.tile(np.divide(size, shape[1::-1]), 2)
