"""Read and write placement banks: folders of cut-outs, and of boxes ranked for them.

Banks are made by ``tools/data/place_objects.py`` and read by data loading workers::

    bank.json               settings, objects (cut-outs with class and source), images
    objects/NAME.png        RGBA cut-outs
    places/NAME.json        of one image: boxes and scores of some objects, best first
    skipped.txt             objects and images that could not be used, with the reason

Ranked boxes are kept instead of heat maps: a map of 16 x 256 x 256 scores takes 4 MB
per pair, its 10 best boxes 0.4 kB, and pasting uses the best alone. Every image has a
file of its own, so that several processes can fill one bank.
"""
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserKeyError, UserValueError

FORMAT = 1
BANK_FILE, OBJECTS, PLACES = 'bank.json', 'objects', 'places'
_HOW_TO = 'Make it with tools/data/place_objects.py.'
_ANOTHER = ('Remove the folder or give another one, and make the bank with '
            'tools/data/place_objects.py.')
# Pixels by which rounded boxes may leave their image.
_ROUNDING = 1
_RECORD = {'key', 'image_wh', 'num_bytes', 'problem', 'places'}


@dataclass(frozen=True)
class BankObject:
    """A cut-out of a bank.

    Attributes:
        file: RGBA file below the folder of the bank.
        category: Its class.
        source: The file it was cut out of, or that it is.
    """

    file: str
    category: str
    source: str


@dataclass(frozen=True, eq=False)
class ObjectPlaces:
    """Ranked places of one object in one image.

    Attributes:
        index: Of the object in :attr:`PlacementBank.objects`.
        boxes_xywh: (K, 4) float64 boxes in pixels of the image, the best first.
        scores: (K,) float64.
    """

    index: int
    boxes_xywh: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, eq=False)
class ImagePlaces:
    """What a bank knows of an image.

    Attributes:
        image_wh: Width and height in pixels.
        num_bytes: Size of its file.
        objects: Objects with at least one place; empty for an image that could not be
            used.
    """

    image_wh: tuple[int, int]
    num_bytes: int
    objects: tuple[ObjectPlaces, ...]


class PlacementBank:
    """Reads a bank: the list of its objects at once, places of an image when asked.

    Args:
        folder: Folder of the bank.

    Raises:
        FileNotFoundError: If there is no bank, or an object or the places of an image
            are missing.
        UserValueError: If it is of another format, or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        content = read_bank(self.folder)
        if content is None:
            raise FileNotFoundError(
                f'No placement bank at {self.folder}: it has no {BANK_FILE}. {_HOW_TO}')
        if content['objects'] is None:
            raise FileNotFoundError(
                f'The placement bank {self.folder} is not complete: its objects are '
                'not cut out yet. Run the same command of tools/data/place_objects.py '
                'again.')
        self.objects = [BankObject(**entry) for entry in content['objects']]
        self.images: list[str] = content['images']
        self.image_folder: str = content['image_folder']
        self._by_file_name: dict[str, list[str]] = defaultdict(list)
        for name in self.images:
            self._by_file_name[name.rpartition('/')[2]].append(name)
        self._check_complete()

    @property
    def classes(self) -> list[str]:
        """Classes of the objects, each once, in order of appearance."""
        return list(dict.fromkeys(thing.category for thing in self.objects))

    def object_path(self, index: int) -> str:
        """The RGBA file of an object."""
        return str(self.folder / self.objects[index].file)

    def places(self, img_path: str) -> ImagePlaces:
        """Places in an image.

        Args:
            img_path: Its path; the end of it is its name in the bank.

        Raises:
            UserKeyError: If the bank does not hold the image.
            UserValueError: If the file has another size than the one in the bank.
        """
        name = self._name(str(img_path))
        try:
            found = _image_places(read_record(places_path(self.folder, name)),
                                  len(self.objects))
        except (TypeError, ValueError, OverflowError):
            raise UserValueError(
                f'{places_path(self.folder, name)} is damaged; remove it and run '
                'tools/data/place_objects.py again, which resumes.') from None
        self._check_file(img_path, name, found)
        return found

    def _name(self, img_path: str) -> str:
        path = f'/{img_path.replace(os.sep, "/").lstrip("/")}'
        fitting = [name for name in self._by_file_name.get(path.rpartition('/')[2], ())
                   if path.endswith(f'/{name}')]
        if not fitting:
            raise UserKeyError(
                f'{img_path} is not in the placement bank {self.folder}, which is of '
                f'{len(self.images)} images of {self.image_folder}, the first: '
                f'{self.images[0]}. Make a bank of the images of this dataset with '
                'tools/data/place_objects.py.')
        return max(fitting, key=len)

    def _check_file(self, img_path: str, name: str, found: ImagePlaces) -> None:
        """Another image may have the same name: splits are often numbered alike."""
        try:
            num_bytes = os.stat(img_path).st_size
        except OSError:
            return  # in an archive or on a server
        if num_bytes != found.num_bytes:
            raise UserValueError(
                f'{img_path} has {num_bytes} bytes, but {name} in the placement bank '
                f'{self.folder} had {found.num_bytes}: it is another image, or was '
                f'changed. The bank is of the images of {self.image_folder}; make one '
                'of this dataset with tools/data/place_objects.py.')

    def _check_complete(self) -> None:
        there = _names_in(self.folder / PLACES)
        missing = [name for name in self.images
                   if places_path(self.folder, name).name not in there]
        if missing:
            raise FileNotFoundError(
                f'The placement bank {self.folder} is not complete: {len(missing)} of '
                f'{len(self.images)} images have no places yet, the first: '
                f'{missing[0]}. Run the same command of tools/data/place_objects.py '
                'again; it resumes.')
        there = {f'{OBJECTS}/{name}' for name in _names_in(self.folder / OBJECTS)}
        missing = [thing.file for thing in self.objects if thing.file not in there]
        if missing:
            raise FileNotFoundError(
                f'The placement bank {self.folder} lacks {len(missing)} of '
                f'{len(self.objects)} objects, the first: {missing[0]}. Put them back, '
                'or make it again with tools/data/place_objects.py --overwrite.')


def _image_places(record: dict | None, num_objects: int) -> ImagePlaces:
    """What a record says.

    Raises:
        TypeError, ValueError, OverflowError: If it is damaged.
    """
    width, height = record['image_wh']
    ends = np.array([width, height], np.float64) + _ROUNDING
    places = []
    for index, rows in record['places']:
        ranked = np.array(rows, np.float64)
        good = (type(index) is int and 0 <= index < num_objects
                and ranked.ndim == 2 and ranked.shape[1] == 5
                and np.isfinite(ranked).all() and (ranked[:, 2:] >= 0).all()
                and (ranked[:, 2:4] > 0).all() and (ranked[:, :2] >= -_ROUNDING).all()
                and (ranked[:, :2] + ranked[:, 2:4] <= ends).all())
        if not good:
            raise ValueError(f'places of object {index!r}')
        places.append(ObjectPlaces(index, ranked[:, :4], ranked[:, 4]))
    return ImagePlaces((width, height), record['num_bytes'], tuple(places))


def _names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def read_bank(folder: Path) -> dict | None:
    """Content of ``bank.json``; None if there is none.

    Its list ``objects`` is None while they are cut out.

    Raises:
        UserValueError: If it is of another format, or damaged.
    """
    path = folder / BANK_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
        version = content['format']
    except (ValueError, KeyError, TypeError):
        raise UserValueError(
            f'{path} is not the list of a placement bank, or damaged. {_ANOTHER}'
        ) from None
    if version != FORMAT:
        raise UserValueError(
            f'{path} has format {version!r}, and this version of mmcontrast reads '
            f'{FORMAT}. {_ANOTHER}')
    wrong = next((key for key, is_good in _CHECKS.items()
                  if not is_good(content.get(key, ()))), None)
    if wrong:
        raise UserValueError(
            f'{path} is damaged: its {wrong!r} is missing, empty or of another type. '
            'Restore it, or make the bank again with tools/data/place_objects.py in '
            'another folder.')
    return content


def _is_list(value: object, is_entry: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_entry, value))


def _is_object(entry: object) -> bool:
    return (isinstance(entry, dict) and set(entry) == {'file', 'category', 'source'}
            and all(isinstance(value, str) for value in entry.values()))


_CHECKS = dict(
    settings=lambda value: isinstance(value, dict),
    image_folder=lambda value: isinstance(value, str),
    images=lambda value: _is_list(value, lambda name: isinstance(name, str)),
    # None while they are cut out.
    objects=lambda value: value is None or _is_list(value, _is_object))


def places_path(folder: Path, name: str) -> Path:
    """File of the places in an image of this name."""
    return folder / PLACES / f'{unique_stem(name)}.json'


def read_record(path: Path) -> dict | None:
    """What was written of an image; None if it is missing, cut off or incomplete."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and _RECORD <= record.keys() else None


def record_text(key: str, name: str, image_wh: Sequence[int], num_bytes: int,
                places: Iterable[tuple[int, np.ndarray, np.ndarray]],
                problem: str | None = None) -> str:
    """Places of an image as JSON: boxes to a hundredth of a pixel.

    Args:
        key: Says what they were made from.
        name: Of the image.
        image_wh, num_bytes: Of the image and its file.
        places: Index of an object, (K, 4) boxes (x, y, w, h) and (K,) scores; objects
            without a place are left out.
        problem: Why the image could not be used.
    """
    listed = [[index, [[*(round(float(x), 2) for x in box), float(f'{score:.4g}')]
                       for box, score in zip(boxes, scores, strict=True)]]
              for index, boxes, scores in places if len(boxes)]
    return json.dumps(dict(key=key, image=name, image_wh=list(image_wh),
                           num_bytes=num_bytes, problem=problem, places=listed))


def unique_stem(name: str) -> str:
    """A file name for a path or id of any kind; different ones never share one."""
    plain = re.sub(r'[^A-Za-z0-9_-]+', '_', name)[-60:]
    digest = hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()
    return f'{plain}-{digest[:8]}'
