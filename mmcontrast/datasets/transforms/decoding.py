"""Decode JPEGs at no higher resolution than their crops need."""
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..image_files import load_upright, orientation
from .crops import Crop
from .resampling import DecodedImage

try:
    import simplejpeg
except ImportError:  # optional: pip install simplejpeg
    simplejpeg = None

# In a downscaled image crop edges lie between pixels. Only Pillow's resize supports
# that, and it is slower than torch's: with fewer image pixels than this per pixel of a
# view, decoding in full is faster.
MIN_REDUCTION = 30


def is_jpeg(image: Image.Image) -> bool:
    """Whether an opened file is a JPEG of gray or RGB; CMYK is decoded by Pillow."""
    return image.format in ('JPEG', 'MPO') and image.mode in ('L', 'RGB')


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an opened image in upright orientation."""
    return image.size if orientation(image) < 5 else image.size[::-1]


def best_shrink(image_size: tuple[int, int], crops: Sequence[Crop],
                size: tuple[int, int]) -> int:
    """The downscale factor that makes decoding fastest: 1, 2, 4 or 8.

    The largest that leaves all crops at least as large as the views, so that no view
    is upsampled from fewer pixels than the image has.

    Args:
        image_size: (width, height) of the image.
        size: (height, width) of the views.
    """
    if image_size[0] * image_size[1] < MIN_REDUCTION * size[0] * size[1]:
        return 1
    room = min(min(crop.height / size[0], crop.width / size[1]) for crop in crops)
    return next((shrink for shrink in (8, 4, 2) if shrink <= room), 1)


def decode_jpeg(data: bytes, image: Image.Image, path: str, shrink: int = 1
                ) -> DecodedImage:
    """Decode a JPEG in full or not at all, at 1 / ``shrink`` of its width and height.

    The decoder itself downscales: it leaves out the high frequencies of every 8 x 8
    block. libjpeg-turbo is used through simplejpeg, or if that is not installed through
    Pillow, with one more copy. Files that simplejpeg rejects are passed to Pillow, so
    that the same files are accepted either way.

    Args:
        data: The file.
        image: The same file, opened by Pillow; consumed.
        path: Its name, for messages.

    Raises:
        BadImage: If the file is damaged.
    """
    width, height = image.size
    rotation = orientation(image)
    if simplejpeg is not None:
        try:
            pixels = _turbo(data, width, height, shrink)
            return DecodedImage(pixels, width, height, shrink, rotation)
        except ValueError:
            shrink = 1
    if shrink == 1:
        return DecodedImage.of(load_upright(image, path, transpose=False), rotation)
    image.draft(None, (width // shrink, height // shrink))
    pixels = load_upright(image, path, transpose=False)
    return DecodedImage(pixels, width, height, shrink, rotation)


def _turbo(data: bytes, width: int, height: int, shrink: int
           ) -> np.ndarray | Image.Image:
    if shrink == 1:
        return simplejpeg.decode_jpeg(data)
    # The decoder uses its smallest scale that reaches this size. Pillow takes four
    # bytes per pixel without a copy.
    width, height = -(-width // shrink), -(-height // shrink)
    pixels = simplejpeg.decode_jpeg(
        data, colorspace='RGBX', min_width=width, min_height=height)
    return Image.frombuffer('RGBX', (width, height), pixels, 'raw', 'RGBX', 0, 1)
