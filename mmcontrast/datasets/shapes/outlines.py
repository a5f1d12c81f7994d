"""Define the outlines of the shapes as polygons of unit size."""
import math
from functools import lru_cache

import numpy as np

from .vocabulary import SHAPES


@lru_cache(maxsize=1024)
def outline(shape: str, tilt: int) -> tuple[np.ndarray, ...]:
    """Closed contours of a shape that stands on the origin.

    Args:
        shape: A name of ``SHAPES``.
        tilt: Rotation in whole degrees, clockwise in the image.

    Returns:
        Contours (P, 2) of (x, y), y downwards, in units of the object's size; a second
        contour is a hole. The box around them is centered on x = 0 and ends at y = 0.
    """
    angle = math.radians(tilt)
    rotation = np.array([[math.cos(angle), math.sin(angle)],
                         [-math.sin(angle), math.cos(angle)]])
    contours = [contour @ rotation for contour in _UNIT_OUTLINES[shape]]
    low, high = contours[0].min(axis=0), contours[0].max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, high[1]])
    return tuple(contour - foot for contour in contours)


@lru_cache(maxsize=1024)
def extent(shape: str, tilt: int) -> tuple[float, float]:
    """(width, height) of the box around :func:`outline`."""
    points = outline(shape, tilt)[0]
    width, height = points.max(axis=0) - points.min(axis=0)
    return float(width), float(height)


def _circle(radius: float, start: float = 0., end: float = 360., x: float = 0.,
            points: int = 48) -> np.ndarray:
    angles = np.radians(np.linspace(start, end, points, endpoint=end - start != 360))
    return np.stack([x + radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    angles = np.radians(np.arange(10) * 36 - 90)
    radii = np.where(np.arange(10) % 2 == 0, 0.54, 0.22)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _cross() -> np.ndarray:
    long, short = 0.5, 0.17
    arm = [(short, short), (long, short), (long, -short), (short, -short)]
    quarter = np.array([[0., -1.], [1., 0.]])
    turns = [np.array(arm) @ np.linalg.matrix_power(quarter, k) for k in range(4)]
    return np.concatenate(turns)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1) / 33


def _moon() -> np.ndarray:
    # A disc of radius r less a disc of radius s whose center lies d to the right; both
    # circles meet at the angles below, seen from either center.
    r, s, d = 0.5, 0.42, 0.26
    outer = math.degrees(math.acos((r * r + d * d - s * s) / (2 * r * d)))
    inner = math.degrees(math.acos((s * s + d * d - r * r) / (2 * s * d)))
    back = _circle(s, 180 + inner, 180 - inner, x=d, points=24)[1:-1]
    return np.concatenate([_circle(r, outer, 360 - outer, points=36), back])


_UNIT_OUTLINES = {
    'circle': [_circle(0.5)],
    'square': [np.array([(-.45, -.45), (.45, -.45), (.45, .45), (-.45, .45)])],
    'triangle': [np.array([(-.5, .45), (.5, .45), (0., -.45)])],
    'star': [_star()],
    'ring': [_circle(0.5), _circle(0.27)],
    'cross': [_cross()],
    'heart': [_heart()],
    'moon': [_moon()]}
assert set(_UNIT_OUTLINES) == set(SHAPES)
