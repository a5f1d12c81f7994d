"""Read COCO-style annotation files and check what they hold."""
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserValueError

# Keys that every entry of a list must have.
_NEEDED = dict(images=('id', 'height', 'width'),
               annotations=('id', 'image_id', 'category_id', 'bbox'),
               categories=('id', 'name'))
# COCO's own boxes reach up to a pixel over the edge, by rounding.
_OVER_THE_EDGE = 1.0


def read_annotations(path: str | Path) -> dict:
    """Read a COCO-style file (also LVIS and Objects365), and check it.

    Raises:
        FileNotFoundError: If it does not exist.
        UserValueError: If it is not JSON, a list or key is missing, an id is used
            twice, a box is not four numbers, or an annotation refers to an image or a
            category that is not there. The message names the file and the entry.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'No annotation file at {path}.')
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserValueError(f'{path} is not a JSON file: {error}') from error
    check_annotations(data, path.name)
    return data


def check_annotations(data: dict, place: str) -> None:
    """Check the content of a COCO-style file; see :func:`read_annotations`.

    Args:
        place: What messages call the file.
    """
    for kind, keys in _NEEDED.items():
        entries = data.get(kind) if isinstance(data, dict) else None
        if not isinstance(entries, list):
            raise UserValueError(
                f'{place} has no list {kind!r}. A COCO-style file is a JSON object '
                'with the lists images, annotations and categories.')
        for k, entry in enumerate(entries):
            missing = [key for key in keys if key not in entry]
            if missing:
                raise UserValueError(f'{place}: {kind}[{k}] has no {missing[0]!r}, '
                                     f'only {sorted(entry)}.')
        _check_unique(place, kind, 'id', (entry['id'] for entry in entries))
    _check_unique(place, 'categories', 'name', (c['name'] for c in data['categories']))
    images = {image['id'] for image in data['images']}
    categories = {category['id'] for category in data['categories']}
    for annotation in data['annotations']:
        for key, known, what in (('image_id', images, 'an image'),
                                 ('category_id', categories, 'a category')):
            if annotation[key] not in known:
                raise UserValueError(
                    f'{place}: annotation {annotation["id"]} has {key} '
                    f'{annotation[key]!r}, and there is no such {what.split()[1]}.')
        _check_box(place, annotation)


def _check_unique(place: str, kind: str, key: str, values: Iterable) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise UserValueError(
            f'{place}: {len(twice)} {key}(s) of {kind} are used more than once, the '
            f'first: {twice[0]!r}. Files that were joined need new ids.')


def _check_box(place: str, annotation: dict) -> None:
    box = annotation['bbox']
    if (not isinstance(box, list) or len(box) != 4
            or not all(isinstance(x, int | float) and np.isfinite(x) for x in box)):
        raise UserValueError(
            f'{place}: the bbox of annotation {annotation["id"]} must be four numbers, '
            f'x, y, width and height in pixels, got {box!r}.')


@dataclass(frozen=True)
class FittedBoxes:
    """Result of :func:`fit_boxes`.

    Attributes:
        annotations: Those that remain; clipped ones are copies.
        clipped: Ids of the images of boxes that were clipped, one a box.
        dropped: Ids of the images of boxes that were dropped, one a box.
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
    beyond = ((low < -_OVER_THE_EDGE) | (high > limits + _OVER_THE_EDGE)).any(1)
    low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    empty = (high <= low).any(1)
    clipped = np.hstack([low, high - low]).tolist()
    kept = [annotation | dict(bbox=box) if change else annotation
            for annotation, box, change, drop in zip(
                annotations, clipped, beyond, empty, strict=True) if not drop]

    def image_ids(chosen):
        return tuple(annotations[k]['image_id'] for k in np.flatnonzero(chosen))

    return FittedBoxes(kept, image_ids(beyond & ~empty), image_ids(empty))
