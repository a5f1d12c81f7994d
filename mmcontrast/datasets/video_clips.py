"""List video clips in the layout of DAVIS, and read and write their masks."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserValueError
from ..io.folders import list_files
from ..io.text_files import read_text, split_lines
from .label_maps import read_label_map


@dataclass(frozen=True)
class ClipFiles:
    """Files of a clip, in frame order.

    Attributes:
        name: Of its folder.
        frames: JPEG files.
        masks: PNG files, one for each frame, with the same stem.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


def list_clips(folder: str | Path, split: str = 'val') -> list[ClipFiles]:
    """The clips of a split.

    Args:
        folder: DAVIS 2017: ``JPEGImages/480p/CLIP/*.jpg``,
            ``Annotations/480p/CLIP/*.png``, ``ImageSets/2017/SPLIT.txt``; the folders
            ``480p`` and ``2017`` may be left out.

    Raises:
        FileNotFoundError: If a folder, a list or a mask is missing.
        ValueError: If a clip is too short to evaluate.
    """
    folder = Path(folder)
    lists = [folder / 'ImageSets' / year / f'{split}.txt' for year in ('2017', '')]
    found = next((path for path in lists if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f'{folder} has neither ImageSets/2017/{split}.txt nor ImageSets/{split}.txt'
            ', the list of clips of DAVIS; name another split, or write clips of the '
            'toy world: python tools/data/make_shapes.py FOLDER --layout davis.')
    folders = [_resolution(folder / part) for part in ('JPEGImages', 'Annotations')]
    names = []
    for line in map(str.strip, split_lines(read_text(found))):
        # A name may hold blanks.
        names += [line] if line and (folders[0] / line).is_dir() else line.split()
    if not names:
        raise ValueError(f'{found} names no clip.')
    return [_clip(name, *folders) for name in names]


def read_ids(path: Path) -> tuple[np.ndarray, list[int] | None]:
    """Object ids (H, W) uint8 of a mask, and its palette if it has one.

    Raises:
        UserValueError: If it is no label map of 8 bits.
    """
    found = read_label_map(path)
    if found.values.dtype != np.uint8:
        raise UserValueError(
            f'{path}: a mask of DAVIS holds one object id per pixel in 8 bits (palette '
            f'or gray image), this one holds {found.values.dtype}.')
    return found.values, found.palette


def write_ids(path: Path, ids: np.ndarray, palette: Sequence[int] | None) -> None:
    """Write object ids (H, W) uint8 as the PNG that DAVIS' own evaluation reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    if palette is not None:
        # With a short palette Pillow stores fewer bits and clips larger ids.
        image.putpalette([*palette, *[0] * (768 - len(palette))])
    image.save(path)


def _resolution(folder: Path) -> Path:
    return folder / '480p' if (folder / '480p').is_dir() else folder


def _clip(name: str, images: Path, masks: Path) -> ClipFiles:
    folder = images / name
    files = list_files(folder, ('.jpg', '.jpeg'), recursive=False) if (
        folder.is_dir()) else []
    frames = tuple(folder / file for file in files)
    if len(frames) < 3:
        raise ValueError(
            f'{images / name} holds {len(frames)} .jpg files; a clip needs at least 3, '
            'as the first and the last frame are not evaluated.')
    paths = tuple(masks / name / f'{frame.stem}.png' for frame in frames)
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(frames)} frames of {name} have no mask, first '
            f'{missing[0]}; J and F need all of them.')
    return ClipFiles(name, frames, paths)
