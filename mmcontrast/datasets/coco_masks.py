"""Decode the masks of COCO annotations, and reject damaged ones."""
import numpy as np
from pycocotools import mask as coco_mask

# pycocotools counts in 32 bits, and writes where it may not beyond.
_MOST_PIXELS = 2 ** 30


def decode_mask(segmentation: dict | list, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool mask of polygons or RLE.

    Run lengths are decoded here: pycocotools takes any, and then returns memory that
    nobody wrote, or writes beyond its own.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: If it is neither, of another
            size, or damaged.
    """
    height, width = size_hw
    if not (0 < height and 0 < width and height * width <= _MOST_PIXELS):
        raise ValueError(f'a mask of {height} x {width} pixels')
    if isinstance(segmentation, list):
        polygons = _checked_polygons(segmentation, size_hw)
        return coco_mask.decode(coco_mask.merge(
            coco_mask.frPyObjects(polygons, height, width))) > 0
    if list(segmentation['size']) != [height, width]:
        raise ValueError(f'mask of {segmentation["size"]} in an image of {size_hw}')
    runs = segmentation['counts']
    if not isinstance(runs, list):
        runs = _decompressed(runs)
    if not set(map(type, runs)) <= {int} or min(runs, default=0) < 0 or (
            sum(runs) != height * width):
        raise ValueError(f'run lengths are not {height * width} pixels')
    # Columns one after the other; runs outside and inside take turns.
    return np.repeat(np.arange(len(runs)) % 2 > 0, runs).reshape(width, height).T


def _checked_polygons(polygons: list, size_hw: tuple[int, int]) -> list[list[float]]:
    """Polygons of three points or more; COCO itself has some of two."""
    kept = [p for p in polygons if isinstance(p, list) and len(p) >= 6]
    if not kept:
        raise ValueError('no polygon of three points or more')
    for polygon in kept:
        points = np.array(polygon, np.float64).reshape(-1, 2)
        # Also false for NaN: drawing it would fill the memory.
        if not (np.abs(points / size_hw[::-1] - 0.5) <= 1.5).all():
            raise ValueError('points far outside the image')
    return kept


def _decompressed(text: str | bytes) -> list[int]:
    """Run lengths of COCO's compressed RLE.

    A number is a group of characters. Each holds five bits, the lowest first, and a
    sixth that is set in all but the last. From the fourth on, a number is the
    difference from the last but one.
    """
    codes = np.frombuffer(text.encode() if isinstance(text, str) else text,
                          np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if not len(codes) or codes.min() < 0 or codes.max() >= 64 or not last[-1]:
        raise ValueError('not a compressed RLE')
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends + 1 - starts
    if lengths.max() > 7:  # more than 32 bits
        raise ValueError('not a compressed RLE')
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    # Two's complement.
    numbers -= (codes[ends] & 16 > 0) * (1 << 5 * lengths)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers.tolist()
