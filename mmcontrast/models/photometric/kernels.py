"""Augment one image on a CPU with kernels compiled by numba.

Results are bit-identical to ``ops``. There every step passes over the image about ten
times; here a loop reads each pixel once, and the image stays uint8.
"""
import math

import numpy as np
from numba import config, njit

from .ops import BOXES, box_radius
from .params import Op

F = np.float32

# Without the GIL, so that threads can share a batch. One small function per op: that
# compiles in half the time, and only what a recipe needs. Kept on disk where the user
# names a folder: unasked, numba raises if neither folder it tries is writable.
_compiled = njit(nogil=True, cache=bool(config.CACHE_DIR),
                 fastmath={'nnan', 'ninf', 'nsz'})


def augment(image: np.ndarray, ops: list[int], values: list[float]) -> None:
    """Change a (3, H, W) uint8 image in place.

    Args:
        ops, values: A row of :class:`AugmentParams`.
    """
    planes = image.reshape(3, -1)
    for op, value in zip(ops, values, strict=True):
        if op == Op.BLUR:
            _blur(image, value)
        elif op != Op.SKIP:
            _ON_PLANES[op](planes, F(value))


def _blur(image: np.ndarray, sigma: float) -> None:
    radius = box_radius(sigma)
    whole, radius = int(radius), F(radius)
    inner = 1 / (2 * radius + 1)
    edge = (1 - (2 * whole + 1) * inner) / 2
    weights = np.array([edge, *[inner] * (2 * whole + 1), edge], F)
    reach = whole + 1
    # Padded, so that a filter along an axis is one along the flat memory.
    frame = np.empty([3, *(side + 2 * reach for side in image.shape[1:])], np.uint8)
    target = np.empty_like(frame)
    inside = np.s_[:, reach:-reach, reach:-reach]
    frame[inside] = image
    for axis in (2, 1):
        for _ in range(BOXES):
            _fill_ends(np.moveaxis(frame, axis, 0), reach)
            step = 1 if axis == 2 else frame.shape[2]
            _box(frame.reshape(-1), target.reshape(-1), weights, step)
            frame, target = target, frame
    image[...] = frame[inside]


def _fill_ends(lines: np.ndarray, reach: int) -> None:
    """Replicate the border pixels."""
    lines[:reach], lines[-reach:] = lines[reach], lines[-reach - 1]


@_compiled
def _truncate(level):
    """Clip, then truncate."""
    return np.uint8(np.int32(min(max(level, F(0)), F(255))))


@_compiled
def _luma(red, green, blue):
    total = red * F(19595) + green * F(38470) + blue * F(7471) + F(0x8000)
    return np.int32(total * F(1 / 0x10000))


@_compiled
def _blend(planes, flat, factor):
    for plane in planes:
        for i in range(plane.size):
            plane[i] = _truncate(flat + (F(plane[i]) - flat) * factor)


@_compiled
def _mean_luma(planes):
    total = 0
    for i in range(planes.shape[1]):
        total += _luma(F(planes[0, i]), F(planes[1, i]), F(planes[2, i]))
    return math.floor(total / planes.shape[1] + 0.5)


@_compiled
def _saturation(planes, factor):
    for i in range(planes.shape[1]):
        red, green, blue = F(planes[0, i]), F(planes[1, i]), F(planes[2, i])
        gray = F(_luma(red, green, blue))
        planes[0, i] = _truncate(gray + (red - gray) * factor)
        planes[1, i] = _truncate(gray + (green - gray) * factor)
        planes[2, i] = _truncate(gray + (blue - gray) * factor)


@_compiled
def _solarize(planes, threshold):
    for plane in planes:
        for i in range(plane.size):
            level = plane[i]
            plane[i] = level if level < threshold else np.uint8(255 - level)


@_compiled
def _hue(planes, turns):
    shift = F(int(turns * F(255)) % 256)
    for i in range(planes.shape[1]):
        red, green, blue = F(planes[0, i]), F(planes[1, i]), F(planes[2, i])
        value = max(red, max(green, blue))
        chroma = value - min(red, min(green, blue))
        scale = max(chroma, F(1))
        to_red = np.float64((value - red) / scale)
        to_green = np.float64((value - green) / scale)
        to_blue = np.float64((value - blue) / scale)
        angle = F(to_blue - to_green if red == value else (
            to_red - to_blue + 2 if green == value else to_green - to_red + 4))
        turn = np.float64(angle) / 6 + 1
        turn = F(turn - 1 if turn >= 1 else turn)
        level = F(np.int32(np.float64(turn) * 255)) + shift
        level = (level - F(256) if level >= F(256) else level) * F(6 / 255)
        drop = F(np.int32(chroma * F(255) / max(value, F(1)))) / F(255) * value
        planes[0, i] = _channel(value, drop, level + F(5))
        planes[1, i] = _channel(value, drop, level + F(3))
        planes[2, i] = _channel(value, drop, level + F(1))


@_compiled
def _channel(value, drop, sector):
    sector = sector - F(6) if sector >= F(6) else sector
    share = min(max(min(sector, F(4) - sector), F(0)), F(1))
    return np.uint8(np.int32(value - drop * share + F(0.5)))


@_compiled
def _box(source, target, weights, step):
    """Filter flat memory; the neighbors of a pixel lie ``step`` bytes apart."""
    reach = weights.size // 2 * step
    room = np.empty(512, F)
    for start in range(0, source.size - 2 * reach, room.size):
        out = target[start + reach:target.size - reach][:room.size]
        sums = room[:out.size]
        for i in range(sums.size):
            sums[i] = F(0.4999)
        for k in range(weights.size):
            pixels = source[start + k * step:][:sums.size]
            for i in range(sums.size):
                sums[i] += F(pixels[i]) * weights[k]
        for i in range(sums.size):
            out[i] = np.uint8(np.int32(sums[i]))


_ON_PLANES = {
    Op.BRIGHTNESS: lambda planes, factor: _blend(planes, F(0), factor),
    Op.CONTRAST: lambda planes, factor: _blend(
        planes, F(_mean_luma(planes)), factor),
    Op.SATURATION: _saturation,
    Op.HUE: _hue,
    Op.GRAYSCALE: lambda planes, _: _saturation(planes, F(0)),
    Op.SOLARIZE: _solarize,
}
