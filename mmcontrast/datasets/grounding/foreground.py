"""Keep the annotated objects of all images: what a detector is to propose."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserValueError
from ..coco_annotations import check_annotations, read_json

#: What happens to regions that stand for several objects ('iscrowd').
CROWDS = ('drop', 'keep')
_COLUMNS = ('id', 'bbox', 'area')
_SIZES, _IDS = ('id', 'width', 'height'), ('id', 'image_id')
_EXPECTED = ('{image id: {"bbox": [[x, y, w, h], ...], "id": [...], "area": [...]}}, '
             'or a COCO file with the lists images and annotations')


@dataclass(frozen=True, eq=False)
class ForegroundObjects:
    """Objects of many images in a few arrays, 50 bytes an object.

    Attributes:
        path: File that they are from, for messages.
        ids: (N,) int64, ids of the annotations.
        boxes_xywh: (N, 4) float64, pixels.
        areas: (N,) float64, pixels of the mask.
        rows: Id of an image, as text -> first and last row (exclusive). An image
            without objects has an empty range.
    """

    path: str
    ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    rows: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, path: str, images: Mapping[str, Iterable[tuple]]
           ) -> 'ForegroundObjects':
        """Join the objects of every image.

        Args:
            path: For messages.
            images: Id of an image as text -> ``(id, bbox, area)`` of each object.
        """
        rows, objects = {}, []
        for image_id, found in images.items():
            first = len(objects)
            objects += found
            rows[image_id] = first, len(objects)
        columns = list(zip(*objects, strict=True)) or [(), (), ()]
        try:
            ids = np.array(columns[0], np.int64)
            if ids.ndim != 1 or any(ids != np.array(columns[0], object)):
                raise ValueError('ids that are whole numbers')
            boxes = np.array(columns[1], np.float64).reshape(-1, 4)
            areas = np.array(columns[2], np.float64)
            if not len(ids) == len(boxes) == len(areas):
                raise ValueError('boxes of four numbers')
        except (ValueError, TypeError, OverflowError) as error:
            raise UserValueError(
                f'{path}: an id must be an integer, a box four numbers and an area a '
                f'number for every object ({error}).') from error
        bad = np.flatnonzero(~np.isfinite(boxes).all(1) | ~np.isfinite(areas)
                             | (boxes[:, 2:] < 0).any(1))
        if len(bad):
            raise UserValueError(
                f'{path}: {len(bad)} of {len(ids)} objects have a box that is not '
                f'finite or of negative size, the first: id {ids[bad[0]]}, bbox '
                f'{boxes[bad[0]].tolist()}, area {areas[bad[0]]}.')
        return cls(path, ids, boxes, areas, rows)

    def kept(self, image_id: int | str, size_wh: tuple[int, int], min_area: float,
             area_share: tuple[float, float]) -> np.ndarray:
        """Rows of the objects of an image that are neither small nor large.

        Args:
            image_id: Without objects if it is unknown.
            size_wh: Of the image, in pixels.
            min_area: Area in pixels that an object must exceed.
            area_share: Shares of the image between which its area must lie,
                exclusive.
        """
        rows = np.arange(*self.rows.get(str(image_id), (0, 0)))
        areas = self.areas[rows]
        share = areas / (size_wh[0] * size_wh[1])
        low, high = area_share
        return rows[(areas > min_area) & (share > low) & (share < high)]


def read_foreground(path: str | Path, crowds: str = 'drop') -> ForegroundObjects:
    """Objects of a foreground file, or of COCO's ``instances_*.json``.

    Args:
        path: File.
        crowds: 'drop' or 'keep' regions of several objects (``iscrowd``). A foreground
            file does not say which they are, so all of its objects are kept.

    Raises:
        FileNotFoundError: If it does not exist.
        UserValueError: If it is neither; names what is wrong.
    """
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get('annotations'), list):
        return objects_of_coco(checked_coco(content, str(path)), str(path), crowds)
    if not isinstance(content, dict) or not content or not all(
            isinstance(entry, dict) and entry.keys() >= set(_COLUMNS)
            for entry in content.values()):
        raise UserValueError(f'{path} is no file of foreground objects. Expected '
                             f'{_EXPECTED}.')
    images = {}
    for image_id, entry in content.items():
        try:
            images[image_id] = list(zip(*(entry[key] for key in _COLUMNS), strict=True))
        except (TypeError, ValueError) as error:
            raise UserValueError(
                f'{path}: id, bbox and area of image {image_id} must be lists of the '
                f'same length ({error}).') from error
    return ForegroundObjects.of(str(path), images)


def objects_of_coco(content: Mapping, path: str, crowds: str = 'drop'
                    ) -> ForegroundObjects:
    """Objects of a COCO file that has been read and checked.

    Args:
        content: Lists images and annotations.
        path, crowds: See :func:`read_foreground`.
    """
    images: dict[str, list] = {str(entry['id']): [] for entry in content['images']}
    for annotation in content['annotations']:
        if crowds == 'drop' and annotation.get('iscrowd'):
            continue
        images[str(annotation['image_id'])].append(
            (annotation['id'], annotation['bbox'], area_of(annotation)))
    return ForegroundObjects.of(path, images)


def checked_coco(content: object, path: str) -> dict:
    """Content of a COCO file, after a check; classes are not needed and may be missing.

    Raises:
        UserValueError: If a list or key is missing, or an entry is wrong; names it.
    """
    annotations = content.get('annotations') if isinstance(content, dict) else None
    if isinstance(annotations, list) and 'categories' not in content:
        content = dict(
            content, categories=[dict(id=0, name='object')],
            annotations=[dict(a, category_id=0) if isinstance(a, dict) else a
                         for a in annotations])
    check_annotations(content, path)
    return dict(content, images=[_whole(entry, _SIZES, f'{path}: images[{k}]')
                                 for k, entry in enumerate(content['images'])],
                annotations=[_whole(entry, _IDS, f'{path}: annotations[{k}]')
                             for k, entry in enumerate(content['annotations'])])


def _whole(entry: dict, keys: tuple[str, ...], place: str) -> dict:
    """An entry whose ids and sizes are no floats, as 1.0 is another text than 1.

    Raises:
        UserValueError: If one is a float such as 1.5, or true or false.
    """
    odd = {key: entry[key] for key in keys if isinstance(entry[key], bool | float)}
    for key, value in odd.items():
        if isinstance(value, bool) or not value.is_integer():
            raise UserValueError(
                f'{place}: {key!r} must be a whole number'
                f'{" or a text" * (key not in _SIZES[1:])}, got {value!r}.')
    return entry | {key: int(value) for key, value in odd.items()} if odd else entry


def area_of(annotation: Mapping) -> float:
    """Area of an annotation: of its mask where it is written, else of its box."""
    area, (_, _, width, height) = annotation.get('area'), annotation['bbox']
    return width * height if area is None else area


def check_crowds(crowds: str) -> str:
    """The option, after a check.

    Raises:
        UserValueError: If it is unknown.
    """
    if crowds not in CROWDS:
        raise UserValueError(f'crowds must be one of {list(CROWDS)}, got {crowds!r}.')
    return crowds
