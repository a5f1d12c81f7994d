"""Clips beside the masks that were carried through them."""
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from .label_maps import COLORS, SheetRow, fitted, image_sheet, label_overlay

_WIDTH = 240
# Share of the clip at which a frame is shown; the first is given, not found.
_TIMES = (0.25, 0.5, 1.0)


class _Clip(Protocol):
    name: str
    frames: Sequence


def clip_sheet(rows: Sequence[tuple[_Clip, np.ndarray, np.ndarray]]) -> Image.Image:
    """Two rows a clip: the true masks of some frames, and those that were found.

    Args:
        rows: Clip (``name``, ``frames``: image files), true ids (T, H, W), found ids.
    """
    sheet = []
    for clip, truth, found in rows:
        last = len(clip.frames) - 1
        times = [0, *(round(share * last) for share in _TIMES)]
        shown = [np.asarray(Image.open(clip.frames[t]).convert('RGB')) for t in times]
        ids = [int(i) for i in np.unique(truth[0]) if i not in (0, 255)]
        numbers = ', '.join(map(str, times))
        for title, masks in (('true masks', truth), ('found masks', found)):
            pictures = [_painted(image, masks[t]) for image, t in zip(
                shown, times, strict=True)]
            legend = [(_color(i), f'object {i}') for i in ids] or [(None, 'no object')]
            sheet.append(SheetRow(
                pictures, f'{clip.name}: {title} of frames {numbers}', legend))
    return image_sheet(sheet, _WIDTH)


def _painted(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    size = fitted(image.shape, _WIDTH)
    small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
    mask = cv2.resize(np.where(ids == 255, 0, ids).astype(np.uint8), size,
                      interpolation=cv2.INTER_NEAREST).astype(int)
    table = np.array([(0, 0, 0), *(_color(i) for i in range(1, 256))], np.uint8)
    painted = label_overlay(small, mask, table, mark=None)
    return np.where(mask[..., None] == 0, small, painted)


def _color(number: int) -> tuple[int, int, int]:
    return COLORS[(number - 1) % len(COLORS)]
