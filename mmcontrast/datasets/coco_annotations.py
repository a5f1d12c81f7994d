"""Read COCO-style annotation files and check what they hold."""
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType

import numpy as np

from ..errors import UserValueError, closest, suggest

#: COCO's own boxes reach up to a pixel over the edge, by rounding.
OVER_THE_EDGE = 1.0


def read_annotations(path: str | Path, with_boxes: bool = True) -> dict:
    """Read a COCO-style file (also LVIS and Objects365), and check it.

    Args:
        with_boxes: Whether a file without the list ``annotations``, as published for
            test sets, is an error; else the list is empty.

    Raises:
        FileNotFoundError: If it does not exist.
        UserValueError: If it is not JSON, a list or key is missing, an id is used
            twice, a value has another type, an image has no size, a box is not four
            finite numbers, or an annotation refers to an image or a category that is
            not there. The message names the file and the entry.
    """
    data = read_json(path)
    if not with_boxes and isinstance(data, dict):
        data.setdefault('annotations', [])
    check_annotations(data, Path(path).name)
    return data


def read_json(path: str | Path) -> object:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without BOM.

    Raises:
        FileNotFoundError: If it does not exist.
        UserValueError: If it is not JSON; the message shows how it begins.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'No annotation file at {path}.')
    content = path.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        begin = content[:60].decode('utf-8', 'replace')
        what = f'it begins with {begin!r}' if content else 'it is empty'
        raise UserValueError(
            f'{path} is not a JSON file: {what} ({error}).') from error


def check_lists(data: object, place: str) -> None:
    """Check that a file is a JSON object with the lists of COCO.

    Raises:
        UserValueError: If a list is missing.
    """
    for kind in _RULES:
        if not isinstance(data, dict) or not isinstance(data.get(kind), list):
            raise UserValueError(
                f'{place} has no list {kind!r}. A COCO-style file is a JSON object '
                'with the lists images, annotations and categories.')


def check_class_names(path: str | Path, classes: Sequence[str], names: Sequence[str]
                      ) -> None:
    """Check that a file has each class once; mmdet leaves out the others.

    Args:
        path: The file, for the message.
        classes: Names that a dataset asks for.
        names: Of the categories in the file.

    Raises:
        UserValueError: If a class is missing or has two categories, or ``classes`` is
            a single string.
    """
    if isinstance(classes, str):
        raise UserValueError(f'metainfo.classes is the single string {classes!r}: '
                             f"write classes=('{classes}', ).")
    missing = [name for name in classes if name not in names]
    if missing:
        guess = suggest(found for name in missing[:3] for found in closest(name, names))
        raise UserValueError(
            f'{path} has no category named {_shorten(missing)}'
            f'{guess.removesuffix("?") + "?" if guess else ";"} it holds '
            f'{_shorten(names)}. Write metainfo.classes with the exact names of the '
            'file.')
    twice = [name for name, count in Counter(names).items()
             if count > 1 and name in classes]
    if twice:
        raise UserValueError(
            f'{path} has more than one category named {_shorten(twice)}, so that '
            'labels and metainfo.classes do not agree. Remove the one without boxes, '
            'or rename it.')


def check_annotations(data: dict, place: str) -> None:
    """Check the content of a COCO-style file; see :func:`read_annotations`.

    Args:
        place: What messages call the file.
    """
    check_lists(data, place)
    for kind, rules in _RULES.items():
        entries = data[kind]
        _check_entries(entries, rules, f'{place}: {kind}')
        _check_unique(place, kind, 'id', [entry['id'] for entry in entries])
    _check_unique(place, 'categories', 'name', [c['name'] for c in data['categories']])
    for image in data['images']:
        if not image.get('file_name') and not image.get('coco_url'):
            raise UserValueError(
                f"{place}: image {image['id']!r} has no 'file_name' (nor 'coco_url', "
                'as in LVIS). Add its path below the folder of the images.')
    for key, kind, what in (('image_id', 'images', 'image'),
                            ('category_id', 'categories', 'category')):
        unknown = ({annotation[key] for annotation in data['annotations']}
                   - {entry['id'] for entry in data[kind]})
        if unknown:
            first = next(a for a in data['annotations'] if a[key] in unknown)
            raise UserValueError(
                f'{place}: annotation {first["id"]} has {key} {first[key]!r}, and '
                f'there is no such {what}. Remove the annotation, or add the {what}.')


def _check_entries(entries: list, rules: dict[str, '_Rule'], place: str) -> None:
    for k, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserValueError(f'{place}[{k}] must be an object with '
                                 f'{", ".join(rules)}, got {entry!r}.')
    for key, rule in rules.items():
        k = rule.first_bad([entry.get(key) for entry in entries])
        if k is None:
            continue
        entry = entries[k]
        if key not in entry:
            raise UserValueError(
                f'{place}[{k}] has no {key!r}, only {sorted(entry)}.')
        name = key if key == 'id' else f'{key} of id {entry["id"]!r}'
        raise UserValueError(f'{place}[{k}]: {name} must be {rule.expected}, got '
                             f'{entry[key]!r}. Correct or remove it.')


@dataclass(frozen=True)
class _Rule:
    """What the value of a key must be; None stands for a missing key."""

    types: tuple[type, ...]
    expected: str
    test: Callable[[object], bool] | None = None

    def first_bad(self, values: list) -> int | None:
        # Without a Python call a value: LVIS has over a million annotations.
        if set(map(type, values)) <= set(self.types) and (
                self.test is None or all(map(self.test, values))):
            return None
        return next((k for k, value in enumerate(values)
                     if not isinstance(value, self.types)
                     or self.test is not None and not self.test(value)), None)


def _is_box(value: list) -> bool:
    try:
        return len(value) == 4 and all(map(math.isfinite, value))
    except (TypeError, OverflowError):
        return False


_ID = _Rule((int, float, str), 'a number or a string')
_NAME = _Rule((str,), 'a string')
_SIZE = _Rule((int, float), 'a number of pixels above 0', lambda x: 0 < x < math.inf)
_BOX = _Rule((list,), 'four numbers, x, y, width and height in pixels', _is_box)
_PATH = _Rule((str, NoneType), 'a string')
_NUMBER = _Rule((int, float, bool, NoneType), 'a number')
# The id first: messages on the other keys show it.
_RULES = dict(
    images=dict(id=_ID, height=_SIZE, width=_SIZE, file_name=_PATH, coco_url=_PATH),
    annotations=dict(id=_ID, image_id=_ID, category_id=_ID, bbox=_BOX, area=_NUMBER,
                     iscrowd=_NUMBER),
    categories=dict(id=_ID, name=_NAME))


def _check_unique(place: str, kind: str, key: str, values: list) -> None:
    if len(set(values)) == len(values):
        return
    twice = [value for value, count in Counter(values).items() if count > 1]
    raise UserValueError(
        f'{place}: {len(twice)} {key}(s) of {kind} are used more than once, the first: '
        f'{twice[0]!r}. Files that were joined need new ids.')


def _shorten(names: Sequence[str], most: int = 12) -> str:
    shown = ', '.join(map(str, names[:most]))
    return shown + (f', ... ({len(names)})' if len(names) > most else '')


def add_file_names(images: list[dict]) -> None:
    """Add ``file_name`` in place where missing, the end of ``coco_url``.

    LVIS has the path of an image, ``train2017/1.jpg``, in its URL alone.
    """
    for image in images:
        if not image.get('file_name'):
            image['file_name'] = '/'.join(image['coco_url'].split('/')[-2:])


def add_areas(annotations: list[dict]) -> None:
    """Add ``area`` (of the box) and ``iscrowd`` (0) in place where missing.

    mmdet and pycocotools read both.
    """
    for annotation in annotations:
        if annotation.get('area') is None:
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
        if annotation.get('iscrowd') is None:
            annotation['iscrowd'] = 0


@dataclass(frozen=True)
class FittedBoxes:
    """Result of :func:`fit_boxes`.

    Attributes:
        annotations: Those that remain; clipped ones are copies.
        clipped: Ids of the images of boxes that were clipped, one per box.
        dropped: Ids of the images of boxes that were dropped, one per box.
    """

    annotations: list[dict]
    clipped: tuple
    dropped: tuple


def fit_boxes(data: dict) -> FittedBoxes:
    """Clip boxes that reach out of their image, and drop those without area.

    A box that reaches out by up to one pixel stays as it is. One that lies outside as
    a whole has no area in the image and is dropped.

    Args:
        data: Of :func:`read_annotations`; stays as it is.
    """
    annotations = data['annotations']
    sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
    boxes = np.array([a['bbox'] for a in annotations], np.float64).reshape(-1, 4)
    limits = np.array([sizes[a['image_id']] for a in annotations],
                      np.float64).reshape(-1, 2)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    beyond = ((low < -OVER_THE_EDGE) | (high > limits + OVER_THE_EDGE)).any(1)
    low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    empty = (high <= low).any(1)
    clipped = np.hstack([low, high - low]).tolist()
    kept = [annotation | dict(bbox=box) if change else annotation
            for annotation, box, change, drop in zip(
                annotations, clipped, beyond, empty, strict=True) if not drop]

    def image_ids(chosen):
        return tuple(annotations[k]['image_id'] for k in np.flatnonzero(chosen))

    return FittedBoxes(kept, image_ids(beyond & ~empty), image_ids(empty))
