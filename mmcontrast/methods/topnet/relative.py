"""Convert between boxes and GracoNet's relative placements."""
import numpy as np


def boxes_of_placements(placements: np.ndarray, background_wh: np.ndarray,
                        object_wh: np.ndarray) -> np.ndarray:
    """Boxes of relative placements, which never leave the background.

    Source: behavior of GracoNet's evaluation scripts (golden case
    ``ref_graco_geometry``); halves round to even.

    Args:
        placements: (..., 3) scale, x and y in [0, 1]: the share of the background that
            the object takes along the axis that it fills first, and the share of the
            free room that is left and above of it.
        background_wh, object_wh: (..., 2) widths and heights in pixels, broadcast.

    Returns:
        (..., 4) int64 boxes x, y, w, h in pixels, at least one pixel wide and high.
    """
    scale, *place = np.moveaxis(np.asarray(placements, np.float64), -1, 0)
    background, item = (np.asarray(size, np.float64)
                        for size in (background_wh, object_wh))
    background, item = np.broadcast_arrays(background, item)
    # The axis that the object fills first.
    axis = (item / background).argmax(-1)[..., None]
    full, side = (np.take_along_axis(size, axis, -1) for size in (background, item))
    # Divided last: halves, which round to even, stay exact.
    size = np.maximum(np.rint(scale[..., None] * full * item / side), 1)
    size = np.minimum(size, background)
    corner = np.rint(np.stack(place, -1) * (background - size))
    return np.concatenate([corner, size], -1).astype(np.int64)


def placements_of_boxes(boxes_xywh: np.ndarray, background_wh: np.ndarray
                        ) -> np.ndarray:
    """Relative placements of boxes, the inverse of :func:`boxes_of_placements`.

    Args:
        boxes_xywh: (..., 4) boxes in pixels.
        background_wh: (..., 2) widths and heights, broadcast.

    Returns:
        (..., 3) float64 scale, x and y. An axis without free room has position 0.
    """
    boxes = np.asarray(boxes_xywh, np.float64)
    corner, size = boxes[..., :2], boxes[..., 2:]
    background = np.asarray(background_wh, np.float64)
    room = np.broadcast_to(background - size, corner.shape)
    place = np.divide(corner, room, out=np.zeros(corner.shape), where=room != 0)
    scale = (size / background).max(-1)
    return np.concatenate([scale[..., None], place], -1)
