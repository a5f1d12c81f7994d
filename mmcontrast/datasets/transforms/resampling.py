"""Crop, resize, rotate and flip decoded images into views, in uint8 throughout."""
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from .crops import Crop

# EXIF orientation: whether to transpose a stored image, and whether then to flip it
# left to right and top to bottom, to make it upright.
_TURNS = {1: (False, False, False), 2: (False, True, False), 3: (False, True, True),
          4: (False, False, True), 5: (True, False, False), 6: (True, True, False),
          7: (True, True, True), 8: (True, False, True)}

Box = tuple[float, float, float, float]


class DecodedImage(NamedTuple):
    """A decoded image as stored, before the EXIF orientation is applied.

    Attributes:
        pixels: (H, W, 3) uint8 RGB array if decoded in full, else a ``PIL.Image``.
        width, height: Of the stored image, in source pixels.
        shrink: Factor by which ``pixels`` are downscaled: 1, 2, 4 or 8. The last row
            and column may reach beyond the source.
        orientation: 1 (upright) to 8, as EXIF counts.
    """

    pixels: np.ndarray | Image.Image
    width: int
    height: int
    shrink: int = 1
    orientation: int = 1

    @classmethod
    def of(cls, pixels: np.ndarray | Image.Image, orientation: int = 1
           ) -> 'DecodedImage':
        """An RGB image that was decoded in full."""
        pixels = np.require(np.asarray(pixels), requirements=('C', 'W'))
        return cls(pixels, *pixels.shape[1::-1], orientation=orientation)


def crop_decoded(image: DecodedImage, crop: Crop, flipped: bool, size: tuple[int, int],
                 interpolation: str = 'bilinear') -> Tensor:
    """Crop and resize a decoded image to a view.

    For images decoded in full, the result differs from Pillow's by at most one gray
    level.

    Args:
        crop: In source pixels of the upright image.
        size: (height, width) of the result.
        interpolation: ``bilinear`` or ``bicubic``, antialiased.

    Returns:
        (height, width, 3) uint8 tensor; in memory, channels first.
    """
    swapped, mirror_x, mirror_y = _TURNS[image.orientation]
    resize = _resize_whole if image.shrink == 1 else _resize_reduced
    view = resize(image, stored_box(crop, image), size[::-1] if swapped else size,
                  interpolation)
    if swapped:
        view = view.transpose(1, 2)
    mirrored = [axis for axis, yes in ((1, mirror_y), (2, mirror_x != flipped)) if yes]
    return (view.flip(mirrored) if mirrored else view).permute(1, 2, 0)


def stored_box(crop: Crop, image: DecodedImage) -> Box:
    """(left, top, right, bottom) of a crop of the upright image in the stored one."""
    swapped, mirror_x, mirror_y = _TURNS[image.orientation]
    left, top, right, bottom = crop.box
    size = image.width, image.height
    width, height = size[::-1] if swapped else size
    if mirror_x:
        left, right = width - right, width - left
    if mirror_y:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if swapped else (left, top, right, bottom)


def _resize_whole(image: DecodedImage, box: Box, size: tuple[int, int],
                  interpolation: str) -> Tensor:
    left, top, right, bottom = box
    cropped = torch.from_numpy(image.pixels)[top:bottom, left:right]
    # torch's uint8 kernel follows Pillow's, and is vectorized.
    return interpolate(cropped.permute(2, 0, 1)[None], size, mode=interpolation,
                       antialias=True)[0]


def _resize_reduced(image: DecodedImage, box: Box, size: tuple[int, int],
                    interpolation: str) -> Tensor:
    left, top, right, bottom = (edge / image.shrink for edge in box)
    # Crop before the resize, so that pixels outside of the crop do not leak in.
    outer = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
    view = image.pixels.crop(outer).resize(
        size[::-1], Image.Resampling[interpolation.upper()],
        box=(left - outer[0], top - outer[1], right - outer[0], bottom - outer[1]))
    return torch.from_numpy(np.array(view)[..., :3]).permute(2, 0, 1).contiguous()
