"""Draw where objects were placed: composites, ranked boxes and heat maps."""
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...registry import FUNCTIONS
from ...visualization.heat_maps import (
    heat_overlays,
    score_map_sheet,
    upsample_to_image,
)
from ...visualization.label_maps import label_colors
from ...visualization.sheet import SheetRow, fitted_size, image_sheet
from .compositing import paste
from .cutouts import CutOut

# Boxes of a legend.
_LISTED = 6
# Rows of a sheet: of 350 pixels at most, and JPEG allows 65500.
_ROWS = 150
# Checkerboard behind objects: two grays, and the side of a field in pixels.
_FIELDS, _FIELD = (205, 235), 12
# Height of a rank in pixels.
_NUMBER = 16
_HEADINGS = 'object', 'best score over all sizes', 'ranked boxes', 'composite'


@FUNCTIONS.register_module()
def paste_in_order(background: np.ndarray, cutouts: Sequence[CutOut],
                   boxes_xywh: Sequence[Sequence[float]], feather: float = 2.0,
                   blend: str = 'alpha') -> list[np.ndarray]:
    """Paste objects one after another.

    Args:
        background: (H, W, 3) uint8 RGB.
        cutouts, boxes_xywh: The objects and their boxes, in order.
        feather, blend: See :func:`~.compositing.paste`, ``blend`` its ``mode``.

    Returns:
        The (H, W, 3) uint8 composite after each of them.
    """
    composites = []
    for cutout, box in zip(cutouts, boxes_xywh, strict=True):
        background, _ = paste(background, cutout, box, feather, blend)
        composites.append(background)
    return composites


@FUNCTIONS.register_module()
def draw_placements(background: np.ndarray, cutouts: Sequence[CutOut],
                    names: Sequence[str], heats: Sequence[Tensor],
                    boxes_xywh: Sequence[np.ndarray], scores: Sequence[np.ndarray],
                    composites: Sequence[np.ndarray], name: str, width: int = 320
                    ) -> Image.Image:
    """A row for each object: itself, its heat map, its boxes, and the composite.

    The heat map shows at each position the best score over all sizes; colored dots
    are the centers of the ranked boxes. Those are drawn on the scene as it was before
    the object was placed. Of very many objects, the first are drawn.

    Args:
        background: (H, W, 3) uint8 RGB.
        cutouts, names: The objects, in the order in which they were placed.
        heats: (S, h, w) scores of each.
        boxes_xywh, scores: (K, 4) and (K,) ranked boxes of each, in pixels of the
            background.
        composites: (H, W, 3) uint8, the scene once the object was placed.
        name: Of the background.
        width: Longest side of a tile in pixels.
    """
    size = fitted_size(background.shape, width)
    shown = before = _fitted(background, size)
    rows = []
    for cutout, label, heat, boxes, ranked, composite in list(zip(
            cutouts, names, heats, boxes_xywh, scores, composites, strict=True))[
                :_ROWS]:
        colors = label_colors({i: i for i in range(len(boxes))}, len(boxes))
        boxes = boxes * np.tile(np.divide(size, background.shape[1::-1]), 2)
        best = upsample_to_image(heat.amax(0, keepdim=True), size[::-1]).cpu().numpy()
        low, high = float(best.min()), float(best.max())
        after = _fitted(composite, size)
        rows.append(SheetRow(
            [on_checkerboard(cutout, size),
             with_dots(heat_overlays(shown, best, low, high)[0], boxes, colors),
             with_boxes(before, boxes, colors), after],
            f'{label} in {name}', _legend(boxes, ranked, colors, low, high)))
        before = after
    title = f'the first {_ROWS} of {len(names)} objects' * (len(names) > _ROWS)
    return image_sheet(rows, size[0], title, _HEADINGS)


@FUNCTIONS.register_module()
def draw_placement_maps(background: np.ndarray, heat: Tensor, ratios: Tensor, name: str
                        ) -> Image.Image:
    """The heat map of each size of the object over the background.

    Args:
        background: (H, W, 3) uint8 RGB.
        heat: (S, h, w) scores.
        ratios: (S,) max(w / W, h / H) of each size.
        name: Of object and background.
    """
    texts = [f'scale {ratio:.3f}' for ratio in ratios.tolist()]
    return score_map_sheet(background, heat, texts, name, label='score')


def on_checkerboard(cutout: CutOut, size_wh: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 tile with the object in its middle, over gray fields."""
    width, height = size_wh
    fields = np.add.outer(np.arange(height) // _FIELD, np.arange(width) // _FIELD) % 2
    tile = np.repeat(np.array(_FIELDS, np.uint8)[fields][..., None], 3, 2)
    share = 0.9 * min(room / side for room, side in zip(
        size_wh, cutout.size_wh, strict=True))
    placed = [max(1, round(share * side)) for side in cutout.size_wh]
    left, top = ((room - side) // 2 for room, side in zip(size_wh, placed, strict=True))
    return paste(tile, cutout, (left, top, *placed))[0]


def with_boxes(tile: np.ndarray, boxes_xywh: np.ndarray, colors: np.ndarray
               ) -> np.ndarray:
    """A tile with numbered boxes, in pixels of the tile; the best last, on top."""
    image = Image.fromarray(tile)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for rank in reversed(range(len(boxes_xywh))):
        x, y, width, height = boxes_xywh[rank].tolist()
        color = tuple(colors[rank].tolist())
        corners = x, y, max(x + width - 1, x), max(y + height - 1, y)
        draw.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1],
                       outline='black')
        draw.rectangle(corners, outline=color, width=2)
        # Above a small box, which it would hide.
        above = _NUMBER if min(width, height) < 3 * _NUMBER else 0
        _number(draw, font, (x - 1, y - above), str(rank + 1), color, image.size)
    return np.asarray(image)


def with_dots(tile: np.ndarray, boxes_xywh: np.ndarray, colors: np.ndarray
              ) -> np.ndarray:
    """A tile with a dot at the center of each box; the best last, on top."""
    image = Image.fromarray(tile)
    draw = ImageDraw.Draw(image)
    for box, color in list(zip(boxes_xywh, colors, strict=True))[::-1]:
        x, y = (box[:2] + box[2:] / 2).tolist()
        for radius, shade in ((6, 'black'), (5, 'white'), (3, tuple(color.tolist()))):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), shade)
    return np.asarray(image)


def _number(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont,
            corner: tuple[float, float], text: str, color: tuple[int, ...],
            size_wh: tuple[int, int]) -> None:
    """A rank on its color, at the top left of a box but inside the tile."""
    wide = round(font.getlength(text)) + 6
    left = min(max(corner[0], 0), size_wh[0] - wide)
    top = min(max(corner[1], 0), size_wh[1] - _NUMBER)
    draw.rectangle((left, top, left + wide, top + _NUMBER), color)
    luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    draw.text((left + 3, top), text, 'black' if luma > 140 else 'white', font)


def _legend(boxes: np.ndarray, scores: np.ndarray, colors: np.ndarray, low: float,
            high: float) -> list[tuple[tuple[int, ...] | None, str]]:
    """Rank and score of the first boxes, and the range of the heat map."""
    lines = [(tuple(color.tolist()), f'{rank}   {score:.2f}')
             for rank, (color, score) in enumerate(
                 zip(colors[:_LISTED], scores, strict=False), 1)]
    if not len(boxes):
        lines = [(None, 'no place is left')]
    elif len(boxes) > _LISTED:
        lines.append((None, f'{len(boxes) - _LISTED} more'))
    return [*lines, (None, f'map: {low:.2f} to {high:.2f}')]


def _fitted(image: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size_wh, Image.BICUBIC))
