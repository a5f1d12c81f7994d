"""Read the objects to place, and regions of a background, as a user names them."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...datasets.bad_images import BadImage
from ...errors import UserError, UserValueError
from ...registry import FUNCTIONS
from .images import list_images

#: What an inferencer takes as objects.
Objects = str | Path | np.ndarray | Image.Image | Sequence


class ObjectToPlace(NamedTuple):
    """An object that was read.

    Attributes:
        name: Of its file, below the folder that was named, or its path where files of
            several folders have one name; ``object_3`` of an array.
        path: The file, with its folder; '' for an array.
        cutout: The tight crop.
    """

    name: str
    path: str
    cutout: Any


def read_objects(objects: Objects, masks: str | Path | Sequence | None,
                 skipped: list[str]) -> list[ObjectToPlace]:
    """Read the objects of files, folders, arrays, or a list of these.

    Args:
        objects: RGBA files or folders of them; (h, w, 4) uint8 arrays in BGRA;
            ``PIL.Image`` with alpha.
        masks: A mask file for each object, in their order, or a folder with a file of
            the same name, whatever its suffix, for each object file.
        skipped: Takes a sentence for each file of a folder that is no object. A file
            that is named itself must be one.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If an object has neither alpha nor mask, shows nothing, cannot be
            read, or masks and objects do not fit together.
    """
    listed = objects if isinstance(objects, list | tuple) else [objects]
    if not len(listed):
        raise UserValueError('objects is an empty list; name at least one cut-out.')
    found: list[tuple[str, Any, bool]] = []
    for item in listed:
        if isinstance(item, str | Path):
            is_folder = Path(item).expanduser().is_dir()
            found += [(source.name, source.image, is_folder)
                      for source in list_images(item)]
        else:
            found.append((f'object_{len(found)}', item, False))
    read, reasons = [], []
    for (name, source, may_fail), mask in zip(found, _masks(masks, found), strict=True):
        try:
            cutout = FUNCTIONS.get('open_cutout')(source, mask, name)
        except (BadImage, UserError) as error:
            if not may_fail:
                raise UserValueError(str(error)) from error
            reasons.append(str(error))
            continue
        read.append(ObjectToPlace(
            name, source if isinstance(source, str) else '', cutout))
    if not read:
        raise UserValueError(f'objects: none of {len(found)} can be used. {reasons[0]}')
    skipped += reasons
    return _distinct(read)


def _distinct(read: Sequence[ObjectToPlace]) -> list[ObjectToPlace]:
    """Objects of different files by different names."""
    paths: dict[str, set[str]] = {}
    for item in read:
        paths.setdefault(item.name, set()).add(item.path)
    return [item._replace(name=item.path or item.name)
            if len(paths[item.name]) > 1 else item for item in read]


def _masks(masks: str | Path | Sequence | None, found: Sequence[tuple]) -> list:
    """The mask of each object, None for its own alpha."""
    if masks is None:
        return [None] * len(found)
    files = masks if isinstance(masks, list | tuple) else [masks]
    for file in files:
        if not isinstance(file, str | Path):
            raise UserValueError(
                f'masks are files or a folder of them, got {type(file).__name__}. Give '
                'an array the mask as its fourth channel.')
    if len(files) == 1 and Path(files[0]).expanduser().is_dir():
        by_stem = {str(Path(source.name).with_suffix('')): source.image
                   for source in list_images(files[0])}
        stems = [str(Path(name).with_suffix('')) for name, _, _ in found]
        missing = [stem for stem in stems if stem not in by_stem]
        if missing:
            raise UserValueError(
                f'masks: {files[0]} has no mask called {missing[0]!r}. A folder of '
                'masks needs a file of the same name for each object.')
        return [by_stem[stem] for stem in stems]
    if len(files) != len(found):
        raise UserValueError(
            f'masks: {len(files)} for {len(found)} objects. Give one mask for each '
            'object, in the same order, or a folder with the same names.')
    for file in files:
        if not Path(file).expanduser().is_file():
            raise FileNotFoundError(f'{file}: no such mask.')
    return [str(Path(file).expanduser()) for file in files]


def read_avoid(avoid: Any) -> Any:
    """Regions to keep out of: boxes (M, 4), or an (H, W) bool mask.

    Args:
        avoid: Either, or text ``'x,y,w,h;x,y,w,h'``, or a mask image, white where
            nothing may lie.

    Raises:
        FileNotFoundError, ValueError: If a text is neither boxes nor a file.
    """
    if not isinstance(avoid, str | Path):
        return avoid
    # Not Path.is_file, which raises where many boxes are longer than a file name.
    if os.path.isfile(Path(avoid).expanduser()):
        return read_region(avoid)
    try:
        return [numbers(part, 4) for part in str(avoid).split(';') if part.strip()]
    except ValueError:
        raise UserValueError(
            f"avoid={str(avoid)!r} is neither boxes 'x,y,w,h;x,y,w,h' nor the file of "
            'a mask.') from None


def read_region(mask: Any) -> Any:
    """An (H, W) bool mask as it is, or that of an image: white (128 or more) counts.

    Raises:
        FileNotFoundError, ValueError: If it is missing or cannot be read.
    """
    if not isinstance(mask, str | Path):
        return mask
    path = Path(mask).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{mask}: no such mask.')
    try:
        return FUNCTIONS.get('read_mask')(path) >= 128
    except BadImage as error:
        raise UserValueError(str(error)) from error


def read_pair(name: str, value: str | Sequence[float] | None
              ) -> tuple[float, ...] | None:
    """Two numbers, of a text such as '12,40.5' or as they are.

    Raises:
        ValueError: If they are not two; ``name`` is the argument.
    """
    try:
        return None if value is None else numbers(value, 2)
    except (TypeError, ValueError):
        raise UserValueError(
            f"{name} must be two numbers such as '120,80', got {value!r}.") from None


def numbers(text: str | Sequence[float], count: int) -> tuple[float, ...]:
    """Numbers of a text such as '12,40.5'.

    Raises:
        ValueError: If there are more or fewer.
    """
    parts = text.split(',') if isinstance(text, str) else text
    if len(parts) != count:
        raise ValueError(f'expected {count} numbers, got {text!r}.')
    return tuple(float(part) for part in parts)
