"""Cutting views out of decoded pixels: crop, resize, turn, mirror, all in bytes."""
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .crops import Crop

# EXIF orientation: whether rows and columns change places, and whether the result is
# then mirrored left to right and top to bottom, to turn a stored picture upright.
_TURNS = {1: (False, False, False), 2: (False, True, False), 3: (False, True, True),
          4: (False, False, True), 5: (True, False, False), 6: (True, True, False),
          7: (True, True, True), 8: (True, False, True)}

Box = tuple[float, float, float, float]


class Pixels(NamedTuple):
    """A decoded image as it is stored: not yet turned upright.

    Attributes:
        picture: (H, W, 3) uint8 RGB array if decoded in full, else a ``PIL.Image``.
        width, height: Of the stored image, in source pixels.
        shrink: Side of a pixel of ``picture`` in source pixels: 1, 2, 4 or 8. The
            last row and column may reach beyond the source.
        orientation: 1 (upright) to 8, as EXIF counts.
    """

    picture: np.ndarray | Image.Image
    width: int
    height: int
    shrink: int = 1
    orientation: int = 1

    @classmethod
    def of(cls, picture: np.ndarray | Image.Image, orientation: int = 1) -> 'Pixels':
        """An RGB picture that was decoded in full."""
        picture = np.require(np.asarray(picture), requirements=('C', 'W'))
        return cls(picture, *picture.shape[1::-1], orientation=orientation)


def cut_pixels(pixels: Pixels, crop: Crop, flipped: bool, size: tuple[int, int],
               interpolation: str = 'bilinear') -> Tensor:
    """The part of a decoded image that a view shows, before any change of color.

    Decoded in full, the result differs from that of Pillow by one gray level at most.

    Args:
        crop: In source pixels of the upright image.
        size: (height, width) of the result.
        interpolation: ``bilinear`` or ``bicubic``, antialiased.

    Returns:
        (height, width, 3) uint8 tensor; in memory the channels lie one after the other.
    """
    swapped, mirror_x, mirror_y = _TURNS[pixels.orientation]
    resize = _resize_whole if pixels.shrink == 1 else _resize_reduced
    view = resize(pixels, stored_box(crop, pixels), size[::-1] if swapped else size,
                  interpolation)
    if swapped:
        view = view.transpose(1, 2)
    mirrored = [axis for axis, yes in ((1, mirror_y), (2, mirror_x != flipped)) if yes]
    return (view.flip(mirrored) if mirrored else view).permute(1, 2, 0)


def stored_box(crop: Crop, pixels: Pixels) -> Box:
    """(left, top, right, bottom) of a crop of the upright image in the stored one."""
    swapped, mirror_x, mirror_y = _TURNS[pixels.orientation]
    left, top, right, bottom = crop.box
    size = pixels.width, pixels.height
    width, height = size[::-1] if swapped else size
    if mirror_x:
        left, right = width - right, width - left
    if mirror_y:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if swapped else (left, top, right, bottom)


def _resize_whole(pixels: Pixels, box: Box, size: tuple[int, int], interpolation: str
                  ) -> Tensor:
    left, top, right, bottom = box
    cropped = torch.from_numpy(pixels.picture)[top:bottom, left:right]
    # torch's kernel for bytes follows Pillow's, and uses the vector units.
    return interpolate(cropped.permute(2, 0, 1)[None], size, mode=interpolation,
                       antialias=True)[0]


def _resize_reduced(pixels: Pixels, box: Box, size: tuple[int, int], interpolation: str
                    ) -> Tensor:
    left, top, right, bottom = (edge / pixels.shrink for edge in box)
    # Crop before the resize, so that only the pixels which the edges cut shine in.
    outer = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
    view = pixels.picture.crop(outer).resize(
        size[::-1], Image.Resampling[interpolation.upper()],
        box=(left - outer[0], top - outer[1], right - outer[0], bottom - outer[1]))
    return torch.from_numpy(np.array(view)[..., :3]).permute(2, 0, 1).contiguous()
