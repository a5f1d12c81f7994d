"""Paste an object into a background: with soft edges, feathered, or blended."""
from collections.abc import Sequence
from numbers import Real

import cv2
import numpy as np

from ...errors import UserValueError
from ...registry import FUNCTIONS
from .cutouts import CutOut, nearest_colors

_MODES = ('alpha', 'poisson')
# Pixels around an object that the Poisson equation is given.
_RIM = 4
# Side in pixels from which on there is something to solve.
_SMALLEST = 3


def paste(background: np.ndarray, cutout: CutOut, box_xywh: Sequence[float],
          feather: float = 0.0, mode: str = 'alpha') -> tuple[np.ndarray, np.ndarray]:
    """Paste an object into a box, which may leave the image.

    The object is resized to the box as a whole (Pillow's default filter) and then cut
    at the edge of the image; pixels are ``object * a + background * (1 - a)``,
    truncated, as FOPA's composites are (golden case ``ref_composite``).

    Args:
        background: (H, W, 3) uint8 RGB.
        cutout: The object.
        box_xywh: Box in pixels; rounded to whole pixels, at least one wide and high.
        feather: Pixels over which the object fades in from its edge; 0 keeps the edge
            of the cut-out. Thin objects are feathered less, so that they stay visible.
        mode: 'alpha', or 'poisson': the object keeps its gradients and takes the colors
            of the background around its edge (Perez et al., SIGGRAPH 2003); below 3
            pixels in width or height, the same as 'alpha'.

    Returns:
        (H, W, 3) uint8 composite and (H, W) uint8 opacity of the object in it. A box
        outside the image gives the background and zeros.

    Raises:
        UserValueError: If ``mode`` is unknown or ``feather`` negative.
    """
    check_blending(mode, feather)
    left, top, width, height = whole_box(box_xywh)
    placed = cutout.resized((width, height))
    alpha = feathered(placed.alpha, feather) if feather else placed.alpha
    scene, part = _overlap((left, top, width, height), background.shape[:2])
    mask = np.zeros(background.shape[:2], np.uint8)
    mask[scene] = alpha[part]
    rgb = placed.rgb
    if mode == 'poisson' and mask.any():
        rgb = _poisson(background, placed, left, top)
    composite = background.copy()
    share = mask[scene][..., None] / 255
    composite[scene] = rgb[part] * share + background[scene] * (1 - share)
    return composite, mask


@FUNCTIONS.register_module()
def check_blending(mode: str, feather: float, name: str = 'mode') -> None:
    """Check arguments of :func:`paste`.

    Args:
        mode, feather: As of :func:`paste`.
        name: What the caller calls ``mode``, for messages.

    Raises:
        UserValueError: If ``mode`` is unknown or ``feather`` negative.
    """
    if mode not in _MODES:
        raise UserValueError(f'{name} must be one of {_MODES}, got {mode!r}.')
    if not (isinstance(feather, Real) and feather >= 0):
        raise UserValueError(f'feather must be 0 pixels or more, got {feather!r}.')


def whole_box(box_xywh: Sequence[float]) -> tuple[int, int, int, int]:
    """A box in whole pixels: position and size rounded, at least one pixel large."""
    x, y, width, height = (round(float(value)) for value in box_xywh)
    return x, y, max(width, 1), max(height, 1)


def feathered(alpha: np.ndarray, width: float) -> np.ndarray:
    """Let an object fade in from its edge, inward only.

    Outward there is nothing to show: the pixels beyond the edge of a cut-out are often
    black, or belong to the scene it comes from.

    Args:
        alpha: (h, w) uint8.
        width: Pixels from the edge to full opacity, at most half the distance of the
            innermost pixel.
    """
    # The edge of the crop is an edge of the object.
    inside = np.pad(_solid(alpha).astype(np.uint8), 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    width = min(width, float(distance.max()) / 2)
    if width <= 0:
        return alpha
    # Pixel centers are half a pixel inside.
    ramp = np.clip((distance - 0.5) / width, 0, 1)
    return np.round(alpha * ramp).astype(np.uint8)


def _overlap(box: tuple[int, int, int, int], size_hw: tuple[int, int]
             ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What of the image lies in a box, and what of the box lies in the image."""
    scene, part = [], []
    for start, length, side in zip(box[1::-1], box[:1:-1], size_hw, strict=True):
        low, high = max(start, 0), min(start + length, side)
        high = max(high, low)
        scene.append(slice(low, high))
        part.append(slice(low - start, high - start))
    return tuple(scene), tuple(part)


def _poisson(background: np.ndarray, placed: CutOut, left: int, top: int
             ) -> np.ndarray:
    """Colors of the object, shifted to meet the background at the object's edge.

    Beyond its edge the object goes on with its nearest color: no gradient there, so
    that neither black nor the old surroundings leak in. Beyond the image, the
    background goes on likewise: an object that leaves it is not bent to its edge.
    """
    if min(placed.size_wh) < _SMALLEST:
        return placed.rgb
    solid = np.pad(_solid(placed.alpha), _RIM)
    rgb = nearest_colors(
        np.pad(placed.rgb, ((_RIM, _RIM), (_RIM, _RIM), (0, 0))), solid)
    rows, columns = (np.clip(np.arange(length) + start - _RIM, 0, side - 1)
                     for length, start, side in zip(
                         solid.shape, (top, left), background.shape, strict=False))
    around = background[rows[:, None], columns]
    inside = 255 * solid.astype(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    blended = cv2.seamlessClone(rgb, around, inside,
                                (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return nearest_colors(blended, solid)[_RIM:-_RIM, _RIM:-_RIM]


def _solid(alpha: np.ndarray) -> np.ndarray:
    """Where an object is at least half as opaque as it gets."""
    return alpha >= max(alpha.max() / 2, 1)
