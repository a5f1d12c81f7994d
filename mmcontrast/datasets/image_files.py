"""Read image files of any format as upright RGB images."""
import io
import os

import numpy as np
from mmengine.fileio import get
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..io.size_limit import check_size
from .bad_images import BadImage, Reason

_ORIENTATION = 0x0112  # EXIF tag


def read_image(path: str, backend_args: dict | None = None) -> Image.Image:
    """The image in file ``path`` (any address mmengine reads), upright, RGB."""
    return decode_bytes(read_bytes(path, backend_args), path)


def decode_bytes(data: bytes, path: str) -> Image.Image:
    """Decode an image file from memory: upright, RGB.

    Args:
        path: Name of the file, for messages.

    Raises:
        BadImage: If there are no bytes, or they are no image, or damaged.
    """
    return load_upright(open_image(data, path), path)


def open_image(data: bytes, path: str) -> Image.Image:
    """Open an image: read its header, and no pixels.

    Raises:
        BadImage: If there are no bytes, or they are no image, or the header is broken.
    """
    if not data:
        raise BadImage(path, Reason.EMPTY)
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadImage(path, Reason.NOT_AN_IMAGE) from None
    except Image.DecompressionBombError as error:
        raise BadImage(path, Reason.TOO_LARGE, str(error)) from None
    except Exception as error:  # a broken header; see below
        raise BadImage(path, Reason.DAMAGED, _describe(error)) from None


def load_upright(image: Image.Image, path: str, transpose: bool = True) -> Image.Image:
    """Decode what :func:`open_image` opened, in full: upright, RGB.

    Args:
        transpose: Whether to apply the EXIF orientation.

    Raises:
        BadImage: If the file is damaged.
    """
    # Other libraries may have set this; truncated images are errors here.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
        return to_rgb(upright(image) if transpose else image)
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's readers raise OSError, SyntaxError, ValueError, EOFError,
        # struct.error, zlib.error ... on invalid data.
        raise BadImage(path, Reason.DAMAGED, _describe(error)) from None


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


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any image to 8-bit RGB; more than 8 bits are scaled, never clipped.

    16-bit gray keeps its high byte, as Pillow does with 16-bit color. 32-bit integer
    and float gray have no standard range: beyond 16 bit, or float beyond [0, 1],
    the range of the image itself becomes [0, 255].
    """
    if image.mode == 'RGB':
        return image
    if image.mode.startswith('I') or image.mode == 'F':
        image = Image.fromarray(_to_8_bit(np.asarray(image), image.mode))
    elif image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    return image.convert('RGB')


def _to_8_bit(gray: np.ndarray, mode: str) -> np.ndarray:
    low, high = gray.min(), gray.max()
    if mode == 'F':
        low, high = (0, 1) if 0 <= low and high <= 1 else (low, high)
    elif 0 <= low and high < 1 << 16:
        return (gray.astype(np.uint16) >> 8).astype(np.uint8)
    gray = (gray.astype(np.float64) - low) / max(float(high) - float(low), 1e-12)
    return np.round(gray * 255).astype(np.uint8)


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


def _describe(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'
