"""From the bytes of a photograph to no more pixels than its crops need."""
from collections.abc import Sequence

import numpy as np
from PIL import Image

from .crops import Crop
from .cutting import Pixels
from .loading import load_upright, orientation

try:
    import simplejpeg
except ImportError:  # an optional extra: pip install 'mmcontrast[jpeg]'
    simplejpeg = None

# A reduced picture has crop edges between its pixels. Only Pillow's resize takes such
# edges, and it takes longer than torch's: with fewer pixels of the photograph than this
# for each pixel of a view, decoding in full is the faster of the two.
WORTH_SHRINKING = 30


def is_jpeg(image: Image.Image) -> bool:
    """Whether an opened file is a JPEG of gray or RGB; CMYK goes another way."""
    return image.format in ('JPEG', 'MPO') and image.mode in ('L', 'RGB')


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) that an opened image has once it is turned upright."""
    return image.size if orientation(image) < 5 else image.size[::-1]


def best_shrink(image_size: tuple[int, int], crops: Sequence[Crop],
                size: tuple[int, int]) -> int:
    """The fraction of its size at which a photograph is decoded fastest: 1, 2, 4 or 8.

    The largest that leaves all crops at least as large as the views, so that no view
    is enlarged from fewer pixels than the photograph has.

    Args:
        image_size: (width, height) of the photograph.
        size: (height, width) of the views.
    """
    if image_size[0] * image_size[1] < WORTH_SHRINKING * size[0] * size[1]:
        return 1
    room = min(min(crop.height / size[0], crop.width / size[1]) for crop in crops)
    return next((shrink for shrink in (8, 4, 2) if shrink <= room), 1)


def decode_jpeg(data: bytes, image: Image.Image, path: str, shrink: int = 1) -> Pixels:
    """Decode a JPEG in full or not at all, at 1 / ``shrink`` of its width and height.

    The decoder itself shrinks: it leaves out the high frequencies of every block of
    8 x 8 pixels. libjpeg-turbo is reached through simplejpeg, or where that is not
    installed through Pillow, which copies once more. What simplejpeg finds fault with
    is left to Pillow to judge, so that the same files are accepted either way.

    Args:
        data: The file.
        image: The same, opened by Pillow; it is used up.
        path: Its name, for messages.

    Raises:
        BadImage: If the file is damaged.
    """
    width, height = image.size
    turned = orientation(image)
    if simplejpeg is not None:
        try:
            return Pixels(_turbo(data, width, height, shrink), width, height, shrink,
                          turned)
        except ValueError:
            shrink = 1
    if shrink == 1:
        return Pixels.of(load_upright(image, path, turn=False), turned)
    image.draft(None, (width // shrink, height // shrink))
    return Pixels(load_upright(image, path, turn=False), width, height, shrink, turned)


def _turbo(data: bytes, width: int, height: int, shrink: int
           ) -> np.ndarray | Image.Image:
    if shrink == 1:
        return simplejpeg.decode_jpeg(data)
    # The decoder takes its smallest scale that reaches this size. Four bytes a pixel
    # are what Pillow takes without a copy.
    width, height = -(-width // shrink), -(-height // shrink)
    pixels = simplejpeg.decode_jpeg(
        data, colorspace='RGBX', min_width=width, min_height=height)
    return Image.frombuffer('RGBX', (width, height), pixels, 'raw', 'RGBX', 0, 1)
