"""Read the object to place: its colors, its opacity, and how large it is."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...datasets.image_files import (
    load_upright,
    open_image,
    read_bytes,
    upright,
)
from ...errors import UserValueError
from ...registry import FUNCTIONS

# An object ends where its opacity falls below this share of the largest: soft edges
# belong to it, the noise that JPEG leaves around a mask does not.
_EDGE = 0.25
# Opacity of 255 that some pixel must have; JPEG noise of an empty mask stays below.
_VISIBLE = 8
_WITH_ALPHA = ('RGBA', 'LA', 'PA', 'La', 'RGBa')


class UnusableObject(UserValueError):
    """There is no object in a file.

    Args:
        reason: Why, in a few words, for lists and counts.
        text: The message: the file, what was found and what to do.
    """

    def __init__(self, reason: str, text: str) -> None:
        # Both, so that a worker can send it to the main process.
        super().__init__(reason, text)
        self.reason, self.text = reason, text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class CutOut:
    """An object without its surroundings.

    Attributes:
        rgb: (h, w, 3) uint8, also defined where the object is transparent.
        alpha: (h, w) uint8 opacity, 255 where only the object is seen.
        path: The file, for messages.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    path: str = ''

    @classmethod
    def from_rgba(cls, rgba: np.ndarray, path: str = '', tight: bool = True
                  ) -> 'CutOut':
        """A cut-out of (h, w, 4) uint8 RGBA pixels.

        Args:
            rgba: Colors, not multiplied by the opacity.
            path: Name of the object, for messages.
            tight: Crop to the rows and columns of the object. Without it, the boxes of
                an annotation file keep their meaning: they hold the image as it is.

        Raises:
            UserValueError: If the shape or type differs.
            UnusableObject: If nothing is visible.
        """
        if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
            raise UserValueError(
                f'{path or "The object"} must be (h, w, 4) uint8 RGBA, got shape '
                f'{rgba.shape} and {rgba.dtype}. Add the opacity as a fourth channel.')
        alpha = rgba[..., 3]
        strongest = int(alpha.max(initial=0))
        if strongest < _VISIBLE:
            raise UnusableObject(
                'fully transparent',
                f'{path or "The object"} is fully transparent: no pixel has an opacity '
                f'above {strongest} of 255, so there is nothing to place. Check that '
                'the mask is that of this object and white where the object is.')
        if tight:
            rows, columns = (np.flatnonzero((alpha >= _EDGE * strongest).any(axis))
                             for axis in (1, 0))
            rgba = rgba[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        return cls(np.ascontiguousarray(rgba[..., :3]),
                   np.ascontiguousarray(rgba[..., 3]), path)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.alpha.shape[1], self.alpha.shape[0]

    @property
    def rgba(self) -> np.ndarray:
        """(h, w, 4) uint8."""
        return np.dstack([self.rgb, self.alpha])

    def resized(self, size_wh: Sequence[int], resample: int | None = None) -> 'CutOut':
        """The object at another width and height; colors and opacity separately.

        Args:
            size_wh: New width and height, 1 or more.
            resample: Filter of Pillow; None: its default, bicubic.
        """
        size_wh = tuple(size_wh)
        rgb, alpha = (np.asarray(Image.fromarray(pixels).resize(size_wh, resample))
                      for pixels in (self.rgb, self.alpha))
        return CutOut(rgb, alpha, self.path)

    def flipped(self) -> 'CutOut':
        """The object mirrored left to right."""
        return CutOut(np.ascontiguousarray(self.rgb[:, ::-1]),
                      np.ascontiguousarray(self.alpha[:, ::-1]), self.path)

    def with_filled_colors(self) -> 'CutOut':
        """The object with its nearest color where it is fully transparent.

        Files often hold black there. Colors and opacity are resized apart, which would
        leave a dark fringe around the object.
        """
        visible = self.alpha > 0
        return self if visible.all() else CutOut(
            nearest_colors(self.rgb, visible), self.alpha, self.path)


def nearest_colors(rgb: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give every pixel of (h, w, 3) uint8 the color of the nearest known one.

    Args:
        rgb: The colors.
        known: (h, w) bool, true for at least one pixel.
    """
    labels = cv2.distanceTransformWithLabels(
        1 - known.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    colors = np.zeros((labels.max() + 1, 3), np.uint8)
    colors[labels[known]] = rgb[known]
    return colors[labels]


def read_cutout(path: str | Path, mask_path: str | Path | None = None,
                tight: bool = True) -> CutOut:
    """Read an object from an RGBA file, or from an image and its mask.

    Colors beside a mask stay as they are; those of an RGBA file are replaced where they
    are fully transparent, see :meth:`CutOut.with_filled_colors`.

    Args:
        path: An image with an alpha channel (PNG, WebP, ...), or any image with
            ``mask_path``.
        mask_path: Gray image of the same size, white where the object is; soft edges
            and JPEG are fine. Masks that hold only 0 and 1, and palette masks, mark the
            object by any value but 0. A mask takes the place of the image's own alpha.
        tight: See :meth:`CutOut.from_rgba`.

    Raises:
        BadImage: If a file is missing, empty, no image, or damaged.
        UnusableObject: If there is neither alpha nor mask, or nothing is visible.
        UserValueError: If the mask has another size.
    """
    path = str(path)
    return _cut_out(open_image(read_bytes(path), path), path, mask_path, tight)


@FUNCTIONS.register_module()
def open_cutout(source: 'str | Path | np.ndarray | Image.Image | CutOut',
                mask_path: str | Path | None = None, name: str = 'The object'
                ) -> CutOut:
    """The tight crop of an object, whatever it comes as.

    Args:
        source: A file, see :func:`read_cutout`; an (h, w, 4) uint8 array in BGRA, as
            ``cv2.imread`` gives it with ``cv2.IMREAD_UNCHANGED``; a ``PIL.Image``; or a
            cut-out.
        mask_path: See :func:`read_cutout`; arrays may be (h, w, 3) uint8 BGR with it.
        name: Of the object, for messages.

    Raises:
        BadImage, UserValueError: See :func:`read_cutout`.
    """
    if isinstance(source, CutOut):
        return source if mask_path is None else _masked(source.rgb, name, mask_path)
    if isinstance(source, np.ndarray):
        is_color = source.ndim == 3 and source.shape[2] in (3, 4)
        pixels = source[..., [2, 1, 0, 3][:source.shape[2]]] if is_color else source
        if mask_path is not None and is_color and source.dtype == np.uint8:
            return _masked(pixels[..., :3], name, mask_path)
        return CutOut.from_rgba(pixels, name).with_filled_colors()
    if isinstance(source, Image.Image):
        return _cut_out(source, name, mask_path, tight=True)
    return read_cutout(source, mask_path)


def _cut_out(image: Image.Image, path: str, mask_path: str | Path | None, tight: bool
             ) -> CutOut:
    if mask_path is not None:
        return _masked(np.asarray(load_upright(image, path)), path, mask_path, tight)
    if image.mode not in _WITH_ALPHA and 'transparency' not in image.info:
        raise UnusableObject(
            'no alpha channel',
            f'{path} has no alpha channel (its mode is {image.mode}), so the object '
            'cannot be told from its surroundings. Save the cut-out as an RGBA PNG, or '
            'give its mask as well: a gray image of the same size, white where the '
            'object is.')
    rgb = load_upright(image, path)  # raises BadImage for a damaged file
    image = upright(image)
    if image.mode.startswith('I'):  # 16-bit gray, which Pillow clips
        opaque = np.asarray(image) != image.info['transparency']
        rgba = np.dstack([np.asarray(rgb), 255 * opaque.astype(np.uint8)])
    else:
        rgba = np.asarray(image.convert('RGBA'))
    return CutOut.from_rgba(rgba, path, tight).with_filled_colors()


def _masked(rgb: np.ndarray, path: str, mask_path: str | Path, tight: bool = True
            ) -> CutOut:
    """The cut-out of (h, w, 3) uint8 RGB pixels and a mask file."""
    alpha = read_mask(mask_path)
    if alpha.shape != rgb.shape[:2]:
        raise UserValueError(
            f'The mask {mask_path} has {_size(alpha)} pixels and its image {path} has '
            f'{_size(rgb)}. Both must be of the same size; resize the mask.')
    return CutOut.from_rgba(np.dstack([rgb, alpha]), path, tight)


@FUNCTIONS.register_module()
def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask as (h, w) uint8 opacity; see :func:`read_cutout`.

    Raises:
        BadImage: If the file is missing, empty, no image, or damaged.
    """
    image = open_image(read_bytes(str(path)), str(path))
    rgb = load_upright(image, str(path))
    if image.mode == 'P':
        return np.where(np.asarray(upright(image)) > 0, 255, 0).astype(np.uint8)
    alpha = np.asarray(rgb.convert('L'))
    if image.mode.startswith('I'):
        # 16 bits may hold values of 8.
        raw = np.asarray(upright(image))
        if 0 <= raw.min(initial=0) and raw.max(initial=0) <= 255:
            alpha = raw.astype(np.uint8)
    return alpha * np.uint8(255) if alpha.max(initial=0) == 1 else alpha


def check_fits(object_wh: Sequence[float], background_wh: Sequence[float],
               path: str = '') -> None:
    """Check that an object of a fixed size in pixels fits into a background.

    Raises:
        UserValueError: If it is wider or higher.
    """
    width, height = object_wh
    scene_width, scene_height = background_wh
    if width > scene_width or height > scene_height:
        share = min(scene_width / width, scene_height / height)
        raise UserValueError(
            f'{path or "The object"} is to be pasted at {width:g} x {height:g} pixels, '
            f'larger than the scene of {scene_width:g} x {scene_height:g}. Give a '
            f'smaller size (at most {int(width * share)} x {int(height * share)} at '
            'this shape), or leave the size to the model.')


def _size(pixels: np.ndarray) -> str:
    return f'{pixels.shape[1]} x {pixels.shape[0]}'
