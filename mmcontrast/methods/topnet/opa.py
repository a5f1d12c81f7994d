"""Provide the labeled placements of OPA: its composites, and pair files made of them.

Source: Liu et al., "OPA: Object Placement Assessment Dataset", arXiv 2107.01889.
"""
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...datasets.image_files import read_image
from ...errors import UserValueError
from ...io.folders import list_files
from ...io.text_files import read_text
from ...registry import DATASETS
from .cutouts import read_mask
from .placement_dataset import PlacementDataset
from .placement_pairs import checked_boxes, is_numbers


@DATASETS.register_module()
class OPAComposites(PlacementDataset):
    """OPA's own tables: one composite per row, with its box and label.

    Layout below ``data_root``: ``background/CATEGORY/ID.jpg``,
    ``foreground/CATEGORY/ID.jpg`` and ``mask_ID.jpg`` beside it, ``train_set.csv`` and
    ``test_set.csv``. The rendered composites are not read.

    Args:
        ann_file: 'train_set.csv' or 'test_set.csv'.
        data_root: The folder of the data set.
        group: One item for each pair of object and background, with all its boxes;
            else one for each row, as the protocols of generative metrics count.
        kwargs: See :class:`~.placement_dataset.PlacementDataset`.
    """

    # Labeled boxes hold the image of the object as it is.
    tight = False

    def __init__(self, ann_file: str, data_root: str = '', group: bool = True,
                 **kwargs) -> None:
        self.group = group
        super().__init__(ann_file, data_root, **kwargs)

    def read_items(self) -> list[dict]:
        objects, backgrounds = (self._index(name)
                                for name in ('foreground', 'background'))
        items: dict[tuple, dict] = {}
        for number, row in enumerate(_rows(self.ann_file, (
                'fg_id', 'bg_id', 'position', 'label'))):
            place = f'{self.ann_file}: row {number + 1}'
            ids = row['fg_id'], row['bg_id']
            key = ids if self.group else number
            if key not in items:
                # A name that is in no folder is reported with the missing files.
                path = objects.get(ids[0], self._absent('foreground', ids[0]))
                folder, name = os.path.split(path)
                items[key] = dict(
                    object_path=path, mask_path=os.path.join(folder, f'mask_{name}'),
                    background_path=backgrounds.get(
                        ids[1], self._absent('background', ids[1])),
                    object_id=ids[0], background_id=ids[1], positives=[], negatives=[])
            box = checked_boxes([_parsed(row['position'], place)], place)[0]
            if row['label'] not in ('0', '1'):
                raise UserValueError(f"{place}: the label must be 1 (reasonable) or 0, "
                                     f"got {row['label']!r}.")
            items[key]['positives' if row['label'] == '1' else 'negatives'].append(box)
        return list(items.values())

    def _index(self, kind: str) -> dict[str, str]:
        """Name of an image without ending -> its path in one of the categories."""
        root = os.path.join(self.data_root, kind)
        if not os.path.isdir(root):
            raise FileNotFoundError(
                f'{root} is missing. OPA holds the folders background and foreground '
                f'beside its tables; data_root={self.data_root!r} must hold them.')
        return {Path(name).stem: os.path.join(root, name)
                for name in list_files(root, ('.jpg',))}

    def _absent(self, kind: str, name: str) -> str:
        return os.path.join(self.data_root, kind, '*', f'{name}.jpg')


@DATASETS.register_module()
class OPAPairs(PlacementDataset):
    """OPA as pair files: one object, background and size per row.

    A row has labeled centers. FOPA and the unofficial TopNet are trained on them.
    Layout below ``data_root``: ``bg/ID.jpg`` (12 digits), ``fg/foreground/ID.jpg`` and
    ``mask_ID.jpg``, for ``canvas_files`` also ``fg/SPLIT/...`` and ``mask/SPLIT/...``.
    Boxes have the size of their row and lie exactly around their center, which may be a
    half pixel.

    Differences from the public loader: every image is converted to RGB and every mask
    to gray (there the check is inverted), and composites are not rendered (they were
    never used).

    Args:
        ann_file: 'train_pair_new.json' or 'test_pair_new.json', or the same as .csv.
        data_root: The folder ``data``.
        canvas_files: Read the prepared canvases of the release; else they are made of
            the object's own image, without a second round of JPEG.
        split: Folder of the canvases; default: the first word of the file's name.
        kwargs: See :class:`~.placement_dataset.PlacementDataset`.
    """

    tight = False

    def __init__(self, ann_file: str, data_root: str = '', canvas_files: bool = False,
                 split: str = '', **kwargs) -> None:
        self.canvas_files = canvas_files
        self.split = split or Path(ann_file).stem.partition('_')[0]
        super().__init__(ann_file, data_root, **kwargs)

    def read_items(self) -> list[dict]:
        columns = ('annID', 'scID', 'newWidth', 'newHeight', 'pos_label', 'neg_label')
        return [self._item(row, f'{self.ann_file}: row {number + 1}')
                for number, row in enumerate(_rows(self.ann_file, columns))]

    def _item(self, row: dict, place: str) -> dict:
        object_id, background_id = str(row['annID']), str(row['scID'])
        size = tuple(_pixels(row, key, place) for key in ('newWidth', 'newHeight'))
        objects = os.path.join(self.data_root, 'fg', 'foreground')
        item = dict(
            object_path=os.path.join(objects, f'{object_id}.jpg'),
            mask_path=os.path.join(objects, f'mask_{object_id}.jpg'),
            background_path=os.path.join(
                self.data_root, 'bg', f'{background_id.zfill(12)}.jpg'),
            object_id=object_id, background_id=background_id, object_size_wh=size)
        for key, column in (('positives', 'pos_label'), ('negatives', 'neg_label')):
            centers = _parsed(row[column], place)
            if not all(is_numbers(center, 2) for center in centers):
                raise UserValueError(f'{place}: {column} must be a list of centers '
                                     f'[x, y], got {centers!r}.')
            item[key] = checked_boxes(
                [[x - size[0] / 2, y - size[1] / 2, *size] for x, y in centers],
                f'{place}: {column}')
        if self.canvas_files:
            name = f'{object_id}_{background_id}_{size[0]}_{size[1]}.jpg'
            item['canvas_paths'] = [os.path.join(self.data_root, folder, self.split,
                                                 name) for folder in ('fg', 'mask')]
        return item

    def files_of(self, item: dict) -> Iterable[str]:
        return (*super().files_of(item), *item.get('canvas_paths', ()))

    def load_item(self, info: dict) -> dict:
        paths = info.pop('canvas_paths', None)
        item = super().load_item(info)
        if paths:
            colors, mask = np.asarray(read_image(paths[0])), read_mask(paths[1])
            for path, pixels in zip(paths, (colors, mask), strict=True):
                if pixels.shape[1::-1] != item['background_wh']:
                    raise UserValueError(
                        f'{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels and '
                        f'its background {info["background_path"]} '
                        '{} x {}. Canvases have the size of their background; leave '
                        'canvas_files out to make them.'.format(*item['background_wh']))
            item['canvas'] = np.dstack([colors, mask])
        return item


def _rows(path: str, columns: tuple[str, ...]) -> Iterator[dict]:
    """Rows of a JSON list of objects, or of a CSV table with a header.

    Raises:
        UserValueError: If it is neither, or a column is missing.
    """
    text = read_text(path)
    if path.lower().endswith('.csv'):
        rows = list(csv.DictReader(io.StringIO(text, newline='')))
    else:
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserValueError(f'{path} is not a JSON file: {error}') from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserValueError(f'{path} must be a list of rows with the columns '
                             f'{", ".join(columns)}. Files of '
                             'tools/data/make_placement_pairs.py are read by '
                             'PlacementPairs.')
    for number, row in enumerate(rows):
        missing = [name for name in columns if row.get(name) is None]
        if missing:
            raise UserValueError(f'{path}: row {number + 1} has no {missing[0]!r}, '
                                 f'only {", ".join(map(str, row))}.')
    return iter(rows)


def _pixels(row: dict, key: str, place: str) -> int:
    """A width or height, which a table holds as text."""
    try:
        value = float(row[key])
    except (ValueError, TypeError, OverflowError):
        value = 0.0
    if value < 1 or not value.is_integer():
        raise UserValueError(f'{place}: {key} must be a whole number of pixels above '
                             f'0, got {row[key]!r}.')
    return int(value)


def _parsed(value, place: str) -> list:
    """A list that JSON holds as such, and a table as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            pass
    if not isinstance(value, list):
        raise UserValueError(f'{place}: expected a list of numbers, got {value!r}.')
    return value
