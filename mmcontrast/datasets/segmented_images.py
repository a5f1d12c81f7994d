"""Images with objects and classes for every pixel, read one at a time from a folder."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..registry import DATASETS
from .labeled_images import IGNORE, checked_labels, find_pairs, read_item, read_pair
from .transforms.loading import read_image

#: Label of pixels that count nowhere.
UNLABELED = -1


@dataclass(frozen=True)
class SegmentedImage:
    """One image and what is known of its pixels.

    Attributes:
        name: Path of the image.
        image: RGB.
        labels: (H, W) int32 places in the class list, -1 for unlabeled pixels.
        instances: (H, W) int32, 0 where no single object is, else an id of the object
            in this image; None if the set does not tell objects apart.
    """

    name: str
    image: Image.Image
    labels: np.ndarray
    instances: np.ndarray | None


class SegmentedImages(Protocol):
    """A set of labeled images.

    Attributes:
        classes: Names of the C classes.
        is_thing: (C,) bool, whether the class has single objects; None if the set does
            not say.
    """

    classes: tuple[str, ...]
    is_thing: np.ndarray | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> SegmentedImage: ...


def open_segmented_images(folder: str | Path, split: str,
                          num_classes: int | None = None, ignore_index: int = 255,
                          ann_dir: str = 'ann_dir', img_suffix: str = '.jpg',
                          seg_map_suffix: str = '.png',
                          reduce_zero_label: bool = False) -> SegmentedImages:
    """The labeled images of a folder, in the layout that is found there.

    Args:
        folder: COCO panoptic (``annotations/panoptic_SPLIT.json`` and the folder of
            PNG files beside it, images in ``images/SPLIT`` or ``SPLIT``), or mmseg
            (``img_dir/SPLIT``, ``ann_dir/SPLIT``), which has no objects.
        split: Such as ``test``, or COCO's ``val2017``.
        num_classes, ignore_index: For mmseg's layout without a ``classes.json``.
        ann_dir: Other masks of mmseg's layout, such as ``ann_dir_things``; they need
            ``num_classes``.
        img_suffix, seg_map_suffix: Ends of the names of images and masks there.
        reduce_zero_label: Label 0 is for nothing, 1 for the first class.

    Raises:
        FileNotFoundError: If neither is there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder of labeled images.')
    other_masks = ann_dir != 'ann_dir'
    panoptic = folder / 'annotations' / f'panoptic_{split}.json'
    if panoptic.is_file() and not other_masks:
        return PanopticImages(folder, split)
    if (folder / ann_dir / split).is_dir():
        if other_masks and not num_classes:
            raise ValueError(f'{folder / ann_dir}: give the number of classes '
                             '(--num-classes); classes.json is about ann_dir.')
        return MaskImages(folder, split, num_classes, ignore_index, ann_dir,
                          img_suffix, seg_map_suffix, reduce_zero_label)
    raise FileNotFoundError(
        f'{folder} has neither annotations/panoptic_{split}.json (COCO panoptic, with '
        f'objects) nor {ann_dir}/{split} (mmseg, classes only); name another split, or '
        'write the toy world: python tools/data/make_shapes.py FOLDER --layout '
        'panoptic --test 200.')


class PanopticImages:
    """COCO's panoptic layout: a PNG of segment ids an image, and what each id is.

    Classes are in the order of their ids.
    """

    def __init__(self, folder: Path, split: str) -> None:
        path = folder / 'annotations' / f'panoptic_{split}.json'
        content = json.loads(path.read_text(encoding='utf-8'))
        try:
            categories = sorted(content['categories'], key=lambda item: item['id'])
            files = {item['id']: item['file_name'] for item in content['images']}
            self._items = [(files[item['image_id']], item['file_name'],
                            item['segments_info']) for item in content['annotations']]
            self.classes = tuple(item['name'] for item in categories)
            self.is_thing = np.array([bool(item['isthing']) for item in categories])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no COCO panoptic file: expected 'images', 'annotations' "
                f"and 'categories' with their fields, missed {error}.") from None
        self._place = {item['id']: i for i, item in enumerate(categories)}
        self._masks = path.with_suffix('')
        self._images = next((place for place in (folder / 'images' / split,
                                                 folder / split) if place.is_dir()),
                            None)
        if self._images is None:
            raise FileNotFoundError(
                f'{folder} has neither images/{split} nor {split}, the images of '
                f'{path.name}.')

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> SegmentedImage:
        image_name, mask_name, segments = self._items[index]
        path, mask_path = self._images / image_name, self._masks / mask_name
        image = read_image(str(path))
        if not mask_path.is_file():
            raise FileNotFoundError(f'{mask_path}, the segments of {path}, is missing.')
        with Image.open(mask_path) as opened:
            rgb = np.asarray(opened.convert('RGB'), np.int32)
        if rgb.shape[:2] != image.size[::-1]:
            raise ValueError(
                f'{mask_path} is {rgb.shape[1]} x {rgb.shape[0]}, its image {path} is '
                f'{image.width} x {image.height}.')
        ids, places = np.unique(rgb @ np.array([1, 256, 65536], np.int32),
                                return_inverse=True)
        labels, instances = self._tables(ids, segments)
        places = places.reshape(rgb.shape[:2])
        return SegmentedImage(str(path), image, labels[places], instances[places])

    def _tables(self, ids: np.ndarray, segments: list[dict]
                ) -> tuple[np.ndarray, np.ndarray]:
        """Label and instance of each id that a mask holds."""
        labels = np.full(len(ids), UNLABELED, np.int32)
        instances = np.zeros(len(ids), np.int32)
        known = {segment['id']: segment for segment in segments}
        for place, segment_id in enumerate(ids.tolist()):
            segment = known.get(segment_id)
            if segment is None:
                continue
            labels[place] = self._place[segment['category_id']]
            # A crowd is many objects, and not told apart.
            if self.is_thing[labels[place]] and not segment.get('iscrowd', 0):
                instances[place] = place + 1
        return labels, instances


class MaskImages:
    """mmseg's layout: a PNG of class numbers an image; objects are not told apart."""

    is_thing = None

    def __init__(self, folder: Path, split: str, num_classes: int | None = None,
                 ignore_index: int = 255, ann_dir: str = 'ann_dir',
                 img_suffix: str = '.jpg', seg_map_suffix: str = '.png',
                 reduce_zero_label: bool = False) -> None:
        names = folder / 'classes.json'
        if num_classes:
            self.classes = tuple(f'class {i}' for i in range(num_classes))
        elif names.is_file():
            self.classes = tuple(json.loads(names.read_text())['classes'])
        else:
            raise ValueError(
                f'{folder} has no classes.json, so the number of classes is unknown; '
                'give --num-classes (and --ignore-index, if it is not 255).')
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self._pairs = find_pairs(str(folder / 'img_dir' / split),
                                 str(folder / ann_dir / split), img_suffix,
                                 seg_map_suffix)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> SegmentedImage:
        name, image, mask = read_pair(*self._pairs[index], self.reduce_zero_label)
        labels = checked_labels(name, mask, self.classes, self.ignore_index)
        labels = np.where(labels == IGNORE, UNLABELED, labels).astype(np.int32)
        return SegmentedImage(name, image, labels, None)


class DatasetImages:
    """A registered dataset: items with ``img``, ``gt_seg_map``, ``gt_masks``.

    ``gt_masks`` (N, H, W) bool, of single objects, may be missing. The classes of
    objects are ``thing_classes`` of its ``metainfo``.

    Args:
        dataset: Config, its pipeline empty, such as ``dict(type='ShapesDataset',
            num_images=200, split='val', with_annotations=True)``.

    Raises:
        ValueError: If an item does not hold what is needed.
    """

    def __init__(self, dataset: dict) -> None:
        # Our names need no scope, whatever the default scope of the run is.
        self._dataset = DATASETS.build(dict(_scope_='mmcontrast') | dataset)
        meta = self._dataset.metainfo
        self.classes = tuple(meta.get('classes') or ())
        if not self.classes:
            raise ValueError(f'{dataset["type"]} has no classes in its metainfo.')
        things = meta.get('thing_classes')
        self.is_thing = things and np.array([name in things for name in self.classes])

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> SegmentedImage:
        item = self._dataset[index]
        name, image, labels = read_item(item, index)
        labels = checked_labels(name, labels, self.classes, IGNORE)
        instances = None
        if (masks := item.get('gt_masks')) is not None:
            ids = np.arange(1, len(masks) + 1, dtype=np.int32)[:, None, None]
            instances = (masks * ids).max(0, initial=0)
        labels = np.where(labels == IGNORE, UNLABELED, labels).astype(np.int32)
        return SegmentedImage(name, image, labels, instances)
