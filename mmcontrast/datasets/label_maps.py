"""Read label maps: the only place that does, for all labeled sets of ours.

One rule for images and labels: an image is shown upright, as its EXIF orientation says,
and its labels belong to the upright image.
"""
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from ..errors import UserValueError
from .bad_images import BadImage
from .image_files import load_values, open_image, read_bytes, read_turned

# Formats that keep the values as they are; the others are lossy, or may be.
_FORMATS = ('PNG', 'TIFF', 'BMP', 'PPM')
_LOSSY = ('jpeg', 'tiff_jpeg', 'webp')
# Gray of fewer bits is stretched to 8 by Pillow, and by OpenCV: 1 of 2 bits is read 85.
_STRETCHED = ('L;2', 'L;4')
_REMEDY = ('turn the labels as well, or remove the orientation from the images '
           '(exiftool -Orientation= -overwrite_original FILES) if labels were drawn on '
           'the stored pixels')
_warned_folders: set[Path] = set()


@dataclass(frozen=True)
class LabelMap:
    """Values of a label map.

    Attributes:
        values: (H, W) as stored, uint8, uint16 or int32; (H, W, 3) uint8 of one that
            holds ids in its colors.
        palette: Its colors, three numbers each, if it has any.
    """

    values: np.ndarray
    palette: list[int] | None


def read_label_map(path: str | Path, in_colors: bool = False) -> LabelMap:
    """Read a label map: gray or palette, of 1, 8, 16 or 32 bits.

    One that has an EXIF orientation of its own is turned by it.

    Args:
        in_colors: Whether colors hold the ids, as in COCO panoptic.

    Raises:
        FileNotFoundError: If it is missing.
        UserValueError: If it is damaged, or stored in a lossy format, or has the wrong
            kind of pixels.
    """
    image = open_label_map(path)
    try:
        image = load_values(image, str(path))
    except BadImage as error:
        raise UserValueError(f'Label map {error}.') from None
    if in_colors:
        return LabelMap(np.array(image.convert('RGB')), None)
    if image.mode not in ('1', 'L', 'P', 'I') and not image.mode.startswith('I;16'):
        raise UserValueError(
            f'{path}: a label map holds one number a pixel (gray or palette image), '
            f'this one has mode {image.mode}; convert its colors first.')
    values = np.array(image)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return LabelMap(values.astype(values.dtype.newbyteorder('=')), image.getpalette())


def open_label_map(path: str | Path) -> Image.Image:
    """Open a label map: read its header, and no pixels.

    Raises:
        FileNotFoundError, UserValueError: See :func:`read_label_map`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such label map.')
    try:
        image = open_image(read_bytes(str(path)), str(path))
    except BadImage as error:
        raise UserValueError(f'Label map {error}.') from None
    _check_exact(image, path)
    return image


def read_labeled_image(path: str | Path, map_path: str | Path, in_colors: bool = False
                       ) -> tuple[Image.Image, np.ndarray]:
    """Read an image, upright and RGB, and the values of its label map.

    Warns once a folder of images that are turned by EXIF.

    Args:
        in_colors: See :func:`read_label_map`.

    Raises:
        BadImage: If the image is missing or damaged.
        FileNotFoundError, UserValueError: If the label map is missing, none, or of
            another size.
    """
    image, turn = read_turned(str(path))
    values = read_label_map(map_path, in_colors).values
    check_sizes(path, turn, image.size, map_path, values.shape[1::-1])
    return image, values


def check_sizes(path: str | Path, turn: int, size: tuple[int, int],
                labels: str | Path, labels_size: tuple[int, int]) -> None:
    """Check that labels have the size of their image.

    Args:
        turn, size, labels, labels_size: See :func:`check_turn`.

    Raises:
        UserValueError: If they do not; it names the EXIF orientation if that is why.
    """
    check_turn(path, turn, size, labels, labels_size)
    if tuple(labels_size) != tuple(size):
        raise UserValueError(
            f'{labels} is {labels_size[0]} x {labels_size[1]}, its image {path} '
            f'{size[0]} x {size[1]}; they must be of one size.')


def check_turn(path: str | Path, turn: int, size: tuple[int, int],
               labels: str | Path, labels_size: tuple[int, int]) -> None:
    """Look whether labels can belong to an image that EXIF has turned upright.

    Args:
        turn: Its EXIF orientation.
        size: Its (width, height), upright.
        labels: Name of its labels, for messages.
        labels_size: Their (width, height).

    Raises:
        UserValueError: If they have the size of the image as it is stored.
    """
    if turn == 1:
        return
    if turn > 4 and size[0] != size[1] and tuple(labels_size) == tuple(size[::-1]):
        raise UserValueError(
            f'{labels} is {labels_size[0]} x {labels_size[1]}, its image {path} '
            f'{size[0]} x {size[1]}, because the image is turned upright by its EXIF '
            f'orientation {turn}: {_REMEDY}.')
    folder = Path(path).parent
    if folder not in _warned_folders:
        _warned_folders.add(folder)
        print_log(
            f'{path} is turned upright by its EXIF orientation {turn}, and its labels '
            f'{labels} are taken to be drawn on the upright image. If they do not fit: '
            f'{_REMEDY}. Other images of this folder may be turned as well.',
            logger='current', level=logging.WARNING)


def _check_exact(image: Image.Image, path: str | Path) -> None:
    """Raise an error for a file whose values may differ from what was written."""
    kind = image.format
    if kind == 'TIFF' and image.info.get('compression') in _LOSSY:
        kind = f'TIFF with {image.info["compression"]} compression'
    if kind not in _FORMATS:
        raise UserValueError(
            f'{path} is a label map stored as {kind}, whatever its name says. Such '
            'files change the labels (0 and 3 become 0, 1, 2, 3): write them anew, as '
            'PNG.')
    codec, *_, args = image.tile[0]
    rawmode = args[0] if isinstance(args, tuple) else args
    if rawmode in _STRETCHED or (kind == 'PPM' and codec != 'raw'):
        raise UserValueError(
            f'{path} holds gray of fewer bits than 8 or 16, which is stretched when it '
            'is read (1 of 2 bits becomes 85): write it as PNG of 8 or 16 bits, or '
            'with a palette.')
