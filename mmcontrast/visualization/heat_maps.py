"""Draw score maps as heat maps over an image, one tile per text, one color scale."""
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .sheet import fitted_size, tile_columns, truncate_left, wrap_text

_GAP, _TEXT, _LINE, _HEAD = 8, 14, 17, 34
# Room for the peak beside its text, and for the name beside the scale.
_NUMBER, _NARROWEST = 40, 430
_INK, _PALE = (33, 37, 41), (110, 110, 110)
#: (256, 3) uint8, dark to bright; the gray image stays visible below.
HEAT = (255 * colormaps['inferno'](np.arange(256))[:, :3]).round().astype(np.uint8)
_STRENGTH = 0.65


#: (N, 4) boxes, x1, y1, x2, y2 as shares of the image, and (N,) cosines of them.
Regions = tuple[np.ndarray, np.ndarray]


def upsample_to_image(scores: Tensor, size: tuple[int, int],
                      covered: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Upsample score maps to the size of an image, bilinearly.

    Args:
        scores: (K, h, w).
        size: (H, W) of the image.
        covered: Share of the map's height and width that shows the image, from the top
            left on; the rest is padding.
    """
    y, x = (((torch.arange(cells, device=scores.device) + 0.5) / cells * share * 2 - 1)
            for cells, share in zip(size, covered, strict=True))
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)
    return F.grid_sample(scores[None].float(), grid[None], padding_mode='border',
                         align_corners=False)[0]


def heat_overlays(image: np.ndarray, scores: np.ndarray, low: float, high: float
                  ) -> np.ndarray:
    """(K, H, W, 3) uint8: the gray image below the heat of each map.

    Args:
        image: (H, W, 3) uint8.
        scores: (K, H, W).
        low, high: Scores of the darkest and the brightest color.
    """
    level = (scores - low) / max(high - low, 1e-12)
    heat = HEAT[(level.clip(0, 1) * 255).round().astype(np.uint8)]
    gray = image.mean(2, keepdims=True)
    return ((1 - _STRENGTH) * gray + _STRENGTH * heat).round().astype(np.uint8)


def score_map_sheet(image: np.ndarray, scores: Tensor, texts: Sequence[str], name: str,
                    covered: tuple[float, float] = (1.0, 1.0),
                    limits: tuple[float, float] | None = None,
                    regions: Sequence[Regions] | None = None,
                    label: str = 'cosine') -> Image.Image:
    """Draw an image and one heat map per text beside it.

    A ring marks the peak of each map; the caption gives the text and the peak's score.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (K, h, w), such as cosines.
        texts: One per map.
        name: Caption of the image.
        covered: See :func:`upsample_to_image`.
        limits: Scores of the darkest and the brightest color. Default: the lowest and
            the highest score of these maps.
        regions: For each text the regions to outline on its tile.
        label: What the scores are, for the color scale.
    """
    count = len(texts) + 1
    width, height = fitted_size(image.shape, _tile(count))
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))
    large = upsample_to_image(scores, (height, width), covered).cpu().numpy()
    low, high = limits or (float(large.min()), float(large.max()))
    font = ImageFont.load_default(_TEXT)
    captions = [wrap_text(text, width - _NUMBER, font) for text in texts]
    caption_height = _LINE * max(map(len, captions)) + _GAP
    across, down = width + _GAP, height + caption_height + _GAP
    columns = tile_columns(count, across, down, _NARROWEST)
    sheet = Image.new('RGB', (
        _GAP + columns * across, _HEAD + math.ceil(count / columns) * down), 'white')
    draw = ImageDraw.Draw(sheet)
    left = _scale(sheet, draw, font, low, high, label)
    draw.text((_GAP, 8), truncate_left(name, font, left - 2 * _GAP), _INK, font)
    tiles = [small, *heat_overlays(small, large, low, high)]
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        place = _GAP + column * across, _HEAD + row * down
        shown = _ringed(tile, large[number - 1]) if number else tile
        if number and regions is not None:
            shown = _outlined(shown, *regions[number - 1])
        sheet.paste(Image.fromarray(shown), place)
        if number:
            _caption(draw, font, (place[0], place[1] + height + 2), width,
                     captions[number - 1], peak_cosine(scores[number - 1], covered))
    return sheet


def peak_cosine(scores: Tensor, covered: tuple[float, float] = (1.0, 1.0)) -> float:
    """Highest of the (h, w) cells whose center lies in the image."""
    rows, columns = (max(1, math.floor(cells * share + 0.5))
                     for cells, share in zip(scores.shape, covered, strict=True))
    return float(scores[:rows, :columns].max())


def _tile(count: int) -> int:
    """Longest side of a tile; more tiles are smaller."""
    return 280 if count <= 6 else 220 if count <= 12 else 170 if count <= 24 else 140


def _scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, font, low: float, high: float,
           label: str) -> int:
    """The color scale at the top right; returns where it begins."""
    limits_text = f'{label} {low:.2f}', f'{high:.2f}'
    right = sheet.width - _GAP - round(font.getlength(limits_text[1]))
    bar = Image.fromarray(np.repeat(HEAT[None, ::2], 14, axis=0))
    left = right - bar.width - 6 - round(font.getlength(limits_text[0])) - 6
    draw.text((left, 8), limits_text[0], _PALE, font)
    draw.text((right, 8), limits_text[1], _PALE, font)
    sheet.paste(bar, (right - bar.width - 6, 10))
    return left


def _ringed(tile: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """A tile with a ring around the peak of its map."""
    image = Image.fromarray(tile)
    draw = ImageDraw.Draw(image)
    height, width = scores.shape
    # An upsampled map is constant along an edge: take the middle.
    highest = np.argwhere(scores == scores.max())
    y, x = highest[len(highest) // 2].tolist()
    # Whole rings only, also along an edge.
    x, y = (min(max(at, 7), max(size - 8, 7)) for at, size in ((x, width), (y, height)))
    for radius, color in ((6, 'black'), (5, 'white'), (4, 'black')):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color)
    return np.asarray(image)


def _outlined(tile: np.ndarray, boxes: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """A tile with outlined regions, each with its cosine; the best last, on top."""
    image = Image.fromarray(tile)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    sides = np.tile(image.size, 2)
    for box, cosine in list(zip(boxes * sides, cosines, strict=True))[::-1]:
        left, top, right, bottom = box.tolist()
        for grown, color in ((1, 'black'), (0, 'white')):
            draw.rectangle((left - grown, top - grown, max(right, left) + grown,
                            max(bottom, top) + grown), outline=color)
        draw.text((left + 3, top + 1), f'{cosine:.2f}', 'white', font,
                  stroke_width=1, stroke_fill='black')
    return np.asarray(image)


def _caption(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont,
             place: tuple[int, int], width: int, lines: Sequence[str], peak: float
             ) -> None:
    for i, line in enumerate(lines):
        draw.text((place[0], place[1] + i * _LINE), line, _INK, font)
    draw.text((place[0] + width, place[1]), f'{peak:.2f}', _PALE, font, anchor='ra')
