"""Draw two views: their crops, and the points of both that correspond."""
import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Frames of view 1 and view 2, on the source image and around the views.
VIEW_COLORS = ('#e8590c', '#1c7ed6')
_SMOOTH = 2  # drawn at this scale, then downsampled: smooth lines
_LINE, _DOT, _FRAME, _TEXT = 1.4, 3.2, 4, 15


def draw_correspondence(image1: Image.Image, image2: Image.Image, points1: np.ndarray,
                        points2: np.ndarray, side: int = 400, gap: int = 60,
                        drop: int = 30, max_lines: int = 80) -> Image.Image:
    """Two images side by side with lines between corresponding points.

    The color of a line tells where it starts in image 1: the hue runs from left to
    right, and it is darker towards the bottom. So lines from one region look alike, and
    a mirrored or shifted match is visible.

    Args:
        image1, image2: RGB images.
        points1, points2: (K, 2) corresponding points, (x, y) in pixels of each image.
        side: Height of the images in the result, in pixels.
        gap: Pixels between them.
        drop: Pixels by which image 2 is drawn lower, so that lines between the same
            rows of both are not horizontal.
        max_lines: Maximum number of lines; of more matches, evenly spaced ones are
            drawn.

    Raises:
        ValueError: If the points do not match in number.
    """
    points1, points2 = (np.asarray(p, float).reshape(-1, 2) for p in (points1, points2))
    if len(points1) != len(points2):
        raise ValueError(
            'Corresponding points come in pairs, got '
            f'{len(points1)} in image 1 and {len(points2)} in image 2.')
    side, gap, drop = side * _SMOOTH, gap * _SMOOTH, drop * _SMOOTH
    first, second = (
        _framed(_with_height(image, side), color, _FRAME * _SMOOTH)
        for image, color in zip((image1, image2), VIEW_COLORS, strict=True))
    canvas = Image.new('RGB', (first.width + gap + second.width, side + drop),
                       'white')
    canvas.paste(first, (0, 0))
    canvas.paste(second, (first.width + gap, drop))
    keep = np.unique(np.linspace(0, len(points1) - 1, min(max_lines, len(points1)))
                     .round().astype(int))
    colors = [_place_color(x / image1.width, y / image1.height)
              for x, y in points1[keep]]
    starts = points1[keep] * side / image1.height
    ends = points2[keep] * side / image2.height + [first.width + gap, drop]
    _draw_lines(canvas, starts, ends, colors)
    return canvas.resize((canvas.width // _SMOOTH, canvas.height // _SMOOTH),
                         Image.Resampling.LANCZOS)


def draw_crops(image: Image.Image, boxes_xyxy: Sequence[Sequence[float]],
               height: int = 400) -> Image.Image:
    """A source image with the crops of its views, numbered from 1.

    Args:
        boxes_xyxy: Crop edges in source pixels; the first two get the colors of
            :data:`VIEW_COLORS`.
        height: Of the result, in pixels.
    """
    scale = height / image.height
    image = _with_height(image, height)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_TEXT)
    boxes = [[round(edge * scale) for edge in box] for box in boxes_xyxy]
    colors = [VIEW_COLORS[k % len(VIEW_COLORS)] for k in range(len(boxes))]
    for (left, top, right, bottom), color in zip(boxes, colors, strict=True):
        draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)),
                       outline=color, width=_FRAME)
    for number, ((left, top, right, bottom), color) in enumerate(
            zip(boxes, colors, strict=True), start=1):
        # Number 1 at the top left of its frame, 2 at the bottom right: so that
        # they do not cover each other where the crops are alike.
        x, y = (left, top) if number == 1 else (right - 22, bottom - 22)
        draw.rectangle((x, y, x + 21, y + 21), fill=color)
        draw.text((x + 11, y + 11), str(number), 'white', font, anchor='mm')
    return image


def side_by_side(images: Sequence[Image.Image], captions: Sequence[str],
                 gap: int = 30) -> Image.Image:
    """Images in a row, each with a caption above it, on white."""
    font = ImageFont.load_default(_TEXT)
    top = _TEXT + 14
    widths = [max(p.width, round(font.getlength(text)) + 4)
              for p, text in zip(images, captions, strict=True)]
    row = Image.new('RGB', (sum(widths) + gap * (len(widths) + 1),
                            max(p.height for p in images) + top + gap), 'white')
    draw = ImageDraw.Draw(row)
    left = gap
    for image, caption, width in zip(images, captions, widths, strict=True):
        draw.text((left, top - 6), caption, '#212529', font, anchor='ls')
        row.paste(image, (left, top))
        left += width + gap
    return row


def _draw_lines(canvas: Image.Image, starts: np.ndarray, ends: np.ndarray,
                colors: Sequence[tuple[int, int, int]]) -> None:
    lines = Image.new('RGBA', canvas.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(lines)
    for start, end, color in zip(starts, ends, colors, strict=True):
        draw.line((*start, *end), (*color, 190), round(_LINE * _SMOOTH))
    for start, end, color in zip(starts, ends, colors, strict=True):
        for point in (start, end):
            draw.circle(point, _DOT * _SMOOTH, (*color, 255), 'white', _SMOOTH)
    canvas.paste(lines, (0, 0), lines)


def _place_color(x: float, y: float) -> tuple[int, int, int]:
    """Color of a position, x and y in [0, 1]; hues from red to violet."""
    rgb = colorsys.hsv_to_rgb(0.8 * min(max(x, 0), 1), 0.9, 1 - 0.45 * y)
    return tuple(round(255 * value) for value in rgb)


def _with_height(image: Image.Image, height: int) -> Image.Image:
    width = max(round(image.width * height / image.height), 1)
    return image.convert('RGB').resize((width, height), Image.Resampling.BICUBIC)


def _framed(image: Image.Image, color: str, width: int) -> Image.Image:
    ImageDraw.Draw(image).rectangle(
        (0, 0, image.width - 1, image.height - 1), outline=color, width=width)
    return image
