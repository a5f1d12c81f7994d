"""Draw video frames with their true masks and those propagated from the first frame."""
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from ..datasets.image_files import read_image
from .label_maps import COLORS, label_overlay
from .sheet import SheetRow, fitted_size, image_sheet

_WIDTH = 240
# Positions in the video at which a frame is shown, besides the first.
_TIMES = (0.25, 0.5, 1.0)


class _Video(Protocol):
    name: str
    frames: Sequence


def video_sheet(rows: Sequence[tuple[_Video, np.ndarray, np.ndarray]]) -> Image.Image:
    """Two rows per video: the true masks of some frames, and the propagated ones.

    Args:
        rows: Video (``name``, ``frames``: image files), true ids (T, H, W), found ids.
    """
    sheet = []
    for video, truth, found in rows:
        last = len(video.frames) - 1
        times = [0, *(round(share * last) for share in _TIMES)]
        shown = [np.asarray(read_image(str(video.frames[t]))) for t in times]
        ids = [int(i) for i in np.unique(truth[0]) if i not in (0, 255)]
        numbers = ', '.join(map(str, times))
        for title, masks in (('true masks', truth), ('found masks', found)):
            images = [_painted(image, masks[t]) for image, t in zip(
                shown, times, strict=True)]
            legend = [(_color(i), f'object {i}') for i in ids] or [(None, 'no object')]
            sheet.append(SheetRow(
                images, f'{video.name}: {title} of frames {numbers}', legend))
    return image_sheet(sheet, _WIDTH)


def _painted(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    size = fitted_size(image.shape, _WIDTH)
    small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
    mask = cv2.resize(np.where(ids == 255, 0, ids).astype(np.uint8), size,
                      interpolation=cv2.INTER_NEAREST).astype(int)
    table = np.array([(0, 0, 0), *(_color(i) for i in range(1, 256))], np.uint8)
    painted = label_overlay(small, mask, table, mark=None)
    return np.where(mask[..., None] == 0, small, painted)


def _color(number: int) -> tuple[int, int, int]:
    return COLORS[(number - 1) % len(COLORS)]
