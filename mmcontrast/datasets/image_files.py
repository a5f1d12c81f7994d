"""Open image files: the only place that does, for training, tools and methods.

A fixed list of raster formats is opened, up to a limit on pixels, and every image is
turned upright by its EXIF orientation.
"""
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from mmengine.fileio import get
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import UserError, UserValueError
from ..io.file_kinds import stand_in
from ..io.size_limit import check_size
from .bad_images import BadImage, Reason
from .gray_levels import GrayRange, to_8_bits, to_rgb, warn_without_contrast

#: Formats that are opened, by Pillow's names. Others may run programs (PostScript) or
#: are no images of pixels.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'JPEG2000', 'AVIF')
#: Most pixels of an image, unless ``LIMIT_VARIABLE`` says another number. Pillow warns
#: from here on; an image of so many takes a quarter of a GB as RGB.
MAX_PIXELS = 89_478_485
LIMIT_VARIABLE = 'MMCONTRAST_MAX_PIXELS'

_ORIENTATION = 0x0112  # EXIF tag
_STARTS = {b'<svg': 'an SVG drawing', b'<?xml': 'an XML file', b'%pdf': 'a PDF',
           **dict.fromkeys((b'ii*\0', b'mm\0*'), 'a TIFF of an unusual kind, such as '
                           '64-bit floats; save it as 32-bit floats or 16 bits')}


def read_image(path: str, backend_args: dict | None = None) -> Image.Image:
    """The image in file ``path`` (any address mmengine reads), upright, RGB."""
    return decode_bytes(read_bytes(path, backend_args), path)


def decode_bytes(data: bytes, path: str, gray_range: GrayRange | None = None,
                 max_pixels: int | None = None) -> Image.Image:
    """Decode an image file from memory: upright, RGB.

    Args:
        path: Name of the file, for messages.
        gray_range: Range of more than 8 bits that becomes [0, 255], see
            :func:`~.gray_levels.to_8_bits`.
        max_pixels: See :func:`open_image`.

    Raises:
        BadImage: If there are no bytes, or they are no image, or damaged.
    """
    image = load_upright(open_image(data, path, max_pixels), path, True, gray_range)
    warn_without_contrast(image, path)
    return image


def open_image(data: bytes, path: str, max_pixels: int | None = None) -> Image.Image:
    """Open an image: read its header, and no pixels.

    Args:
        path: Name of the file, for messages.
        max_pixels: Limit on width times height; None: that of ``LIMIT_VARIABLE``, or
            else :data:`MAX_PIXELS`.

    Raises:
        BadImage: If there are no bytes, or they are no image of :data:`FORMATS`, or the
            header is broken, or the image is too large.
    """
    if not data:
        raise BadImage(path, Reason.EMPTY)
    limit = max_pixels or _pixel_limit()
    # Pillow has a limit of its own, twice this number; None is none.
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage(path, *_other_content(data)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(path, Reason.TOO_LARGE, f'{error}; {_how_to_raise()}') from None
    except Exception as error:  # a broken header; see _reading
        raise BadImage(path, Reason.DAMAGED, _describe(error)) from None
    if image.width * image.height > limit:
        raise BadImage(
            path, Reason.TOO_LARGE,
            f'{image.width} x {image.height}, the limit is {limit} pixels; '
            f'{_how_to_raise()}')
    return image


def load_upright(image: Image.Image, path: str, transpose: bool = True,
                 gray_range: GrayRange | None = None) -> Image.Image:
    """Decode what :func:`open_image` opened, in full: upright, RGB.

    Args:
        transpose: Whether to apply the EXIF orientation.
        gray_range: See :func:`decode_bytes`.

    Raises:
        BadImage: If the file is damaged.
    """
    deep = _deep_color_file(image)
    with _reading(path):
        image.load()
        if deep is not None and orientation(image) == 1:
            return to_rgb(_scaled_color(deep, image, gray_range))
        return to_rgb(upright(image) if transpose else image, gray_range)


def load_values(image: Image.Image, path: str) -> Image.Image:
    """Decode what :func:`open_image` opened, upright, in the mode that it has.

    Raises:
        BadImage: If the file is damaged.
    """
    with _reading(path):
        image.load()
        return upright(image)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    # Other libraries may have set this; truncated images are errors here.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    except (MemoryError, UserError):
        raise
    except Exception as error:
        # Pillow's readers raise OSError, SyntaxError, ValueError, EOFError,
        # struct.error, zlib.error ... on invalid data.
        raise BadImage(path, Reason.DAMAGED, _describe(error)) from None


def read_turned(path: str) -> tuple[Image.Image, int]:
    """The image in file ``path``, upright, RGB, and the EXIF orientation it had."""
    image = open_image(read_bytes(path), path)
    # Pillow turns TIFFs while it loads them, and finds EXIF of PNGs behind the pixels.
    turn = orientation(image) if image.format == 'TIFF' else None
    rgb = load_upright(image, path)
    warn_without_contrast(rgb, path)
    return rgb, turn or orientation(image)


def orientation_of(path: str) -> int:
    """EXIF orientation of an image file, 1 if it cannot be read."""
    try:
        return read_turned(path)[1]
    except BadImage:
        return 1


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation."""
    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        # Damaged EXIF data does not mean a damaged image.
        return 1
    return found if found in range(1, 9) else 1


def encoded_bytes(results: dict, backend_args: dict | None = None) -> bytes:
    """The encoded file of a sample: ``img_bytes`` if it exists, else read from disk."""
    data = results.get('img_bytes')
    return read_bytes(results['img_path'], backend_args) if data is None else data


def read_bytes(path: str, backend_args: dict | None = None) -> bytes:
    """The bytes of file ``path``.

    Raises:
        BadImage: If the file is missing or cannot be read.
    """
    try:
        if '://' not in path:  # Archives look themselves.
            check_size(path, os.path.getsize(path))
        return get(path, backend_args)
    except FileNotFoundError:
        raise BadImage(path, Reason.MISSING) from None
    except MemoryError:
        raise
    except Exception as error:  # disk, network, a damaged archive
        raise BadImage(path, Reason.UNREADABLE, _describe(error)) from None


def as_image(image: np.ndarray | Image.Image, path: str) -> Image.Image:
    """An image that a sample already holds, RGB.

    Raises:
        TypeError, ValueError: If it is no PIL image and no (H, W, 3) uint8 array.
    """
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"{path}: 'img' must be a PIL.Image or an (H, W, 3) uint8 array, got "
            f'{type(image).__name__}.')
    if (image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8
            or not image.size):
        raise ValueError(
            f"{path}: 'img' must be an (H, W, 3) uint8 RGB array, got shape "
            f'{image.shape} and {image.dtype}.')
    return Image.fromarray(image)


def _deep_color_file(image: Image.Image) -> bytes | None:
    """The file of an opened image if it may hold 16-bit color: Pillow reads 8 bits.

    Of a file with an EXIF orientation, which is rare there, Pillow's 8 bits are taken.
    """
    args = [str(tile[3]) for tile in getattr(image, 'tile', ())]
    # JPEG 2000 does not say it before it is decoded; 65535 is the largest value of PPM.
    deep = image.mode in ('RGB', 'RGBA') and (
        image.format == 'JPEG2000' or any(';16' in a or '65535' in a for a in args))
    if not deep or not isinstance(getattr(image, 'fp', None), io.BytesIO):
        return None
    data = image.fp.getvalue()
    # Here and not later: Pillow turns TIFFs while it loads them.
    return None if image.format == 'TIFF' and orientation(image) != 1 else data


def _scaled_color(data: bytes, image: Image.Image, gray_range: GrayRange | None
                  ) -> Image.Image:
    """16-bit color of a file, scaled; ``image`` itself if OpenCV reads it otherwise."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if (values is None or values.ndim != 3 or values.dtype != np.uint16
            or values.shape[1::-1] != image.size):
        return image
    return Image.fromarray(to_8_bits(values[..., 2::-1], gray_range))


def _pixel_limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return MAX_PIXELS
    if not text.isdigit() or int(text) < 1:
        raise UserValueError(
            f'{LIMIT_VARIABLE} must be a number of pixels, such as 200000000, got '
            f'{text!r}.')
    return int(text)


def _how_to_raise() -> str:
    return (f'resize it, or raise max_pixels of the transform that reads it or '
            f'{LIMIT_VARIABLE}')


def _other_content(data: bytes) -> tuple[Reason, str]:
    """Why Pillow did not identify a file as one of our formats."""
    if what := stand_in(data):
        return Reason.NOT_AN_IMAGE, what
    start = data[:64].lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    for known, name in _STARTS.items():
        if start.startswith(known):
            return Reason.NOT_AN_IMAGE, name
    # A failed Image.open has loaded all plugins; these look at the first bytes only.
    for name, (_, accepts) in Image.OPEN.items():
        if name not in (*FORMATS, 'DIB') and accepts and accepts(data[:64]) is True:
            return Reason.OTHER_FORMAT, f'{name}; opened are {", ".join(FORMATS)}'
    return Reason.NOT_AN_IMAGE, ''


def _describe(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'
