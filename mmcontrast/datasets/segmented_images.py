"""Read images with classes (and objects) for every pixel, one at a time.

Sources: COCO panoptic folders, mmseg folders, registered datasets.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..errors import UserValueError
from ..io.config_types import type_name
from ..io.folders import list_files
from ..registry import DATASETS
from .class_files import read_class_file
from .coco_annotations import read_json
from .label_maps import read_labeled_image

#: Label of pixels that are ignored.
UNLABELED = -1
#: The same in files and registered datasets that do not say another.
IGNORE = 255


@dataclass(frozen=True)
class SegmentedImage:
    """One image and the labels of its pixels.

    Attributes:
        name: Path of the image.
        image: RGB.
        labels: (H, W) int32 indices into the class list, -1 for unlabeled pixels.
        instances: (H, W) int32, 0 for no single object, else an id of the object in
            this image; None if the set has no instances.
    """

    name: str
    image: Image.Image
    labels: np.ndarray
    instances: np.ndarray | None


class SegmentedImages(Protocol):
    """A set of labeled images.

    Attributes:
        classes: Names of the C classes.
        is_thing: (C,) bool, whether the class has instances; None if unknown.
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
    """Open a folder of labeled images, in whichever layout it has.

    Args:
        folder: COCO panoptic (``annotations/panoptic_SPLIT.json`` and the folder of
            PNG files beside it, images in ``images/SPLIT`` or ``SPLIT``), or mmseg
            (``img_dir/SPLIT``, ``ann_dir/SPLIT``), which has no instances.
        split: Such as ``test``, or COCO's ``val2017``.
        num_classes, ignore_index: For mmseg's layout without a ``classes.json``.
        ann_dir: Other masks of mmseg's layout, such as ``ann_dir_things``; they need
            ``num_classes``.
        img_suffix, seg_map_suffix: Endings of images and masks there.
        reduce_zero_label: Label 0 is ignored, 1 is the first class.

    Raises:
        FileNotFoundError: If neither layout is there.
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
        return MaskImages(
            str(folder / 'img_dir' / split), str(folder / ann_dir / split),
            None if num_classes else _class_list(folder), num_classes, img_suffix,
            seg_map_suffix, ignore_index, reduce_zero_label)
    raise FileNotFoundError(
        f'{folder} has neither annotations/panoptic_{split}.json (COCO panoptic, with '
        f'objects) nor {ann_dir}/{split} (mmseg, classes only); name another split, or '
        'write the toy world: python tools/data/make_shapes.py FOLDER --layout '
        'panoptic --test 200.')


def _class_list(folder: Path) -> list[str]:
    names = folder / 'classes.json'
    if not names.is_file():
        raise ValueError(
            f'{folder} has no classes.json, so the number of classes is unknown; '
            'give --num-classes (and --ignore-index, if it is not 255).')
    return read_class_file(names)


class PanopticImages:
    """COCO panoptic: a PNG of segment ids per image; classes in the order of their ids.
    """

    def __init__(self, folder: Path, split: str) -> None:
        path = folder / 'annotations' / f'panoptic_{split}.json'
        content = read_json(path)
        try:
            categories = sorted(content['categories'], key=lambda item: item['id'])
            files = {item['id']: item['file_name'] for item in content['images']}
            self._items = [(files[item['image_id']], item['file_name'] + '',
                            {segment['id']: segment for segment in item['segments_info']
                             }) for item in content['annotations']]
            self.classes = tuple(item['name'] for item in categories)
            self.is_thing = np.array([bool(item['isthing']) for item in categories])
            self._label_of = {item['id']: i for i, item in enumerate(categories)}
            unknown = {segment['category_id'] for *_, segments in self._items
                       for segment in segments.values()} - self._label_of.keys()
        except (KeyError, TypeError, AttributeError) as error:
            raise UserValueError(
                f"{path} is not a COCO panoptic file: expected 'images', 'annotations' "
                "and 'categories' with their fields, found "
                f'{type(error).__name__}: {error}.') from None
        if unknown or not self._items:
            raise UserValueError(
                f'{path}: its segments have category_id {sorted(map(repr, unknown))[0]}'
                ', and there is no such category.' if unknown else
                f"{path}: its list 'annotations' is empty.")
        self._masks = path.with_suffix('')
        self._images = next((
            path for path in (folder / 'images' / split, folder / split)
            if path.is_dir()), None)
        if self._images is None:
            raise FileNotFoundError(
                f'{folder} has neither images/{split} nor {split}, the images of '
                f'{path.name}.')

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> SegmentedImage:
        image_name, mask_name, segments = self._items[index]
        path, mask_path = self._images / image_name, self._masks / mask_name
        if not mask_path.is_file():
            raise FileNotFoundError(f'{mask_path}, the segments of {path}, is missing.')
        image, rgb = read_labeled_image(path, mask_path, in_colors=True)
        ids, inverse = np.unique(rgb @ np.array([1, 256, 65536], np.int32),
                                 return_inverse=True)
        labels, instances = self._tables(ids, segments)
        inverse = inverse.reshape(rgb.shape[:2])
        return SegmentedImage(str(path), image, labels[inverse], instances[inverse])

    def _tables(self, ids: np.ndarray, known: dict[int, dict]
                ) -> tuple[np.ndarray, np.ndarray]:
        """Label and instance of each id that a mask holds."""
        labels = np.full(len(ids), UNLABELED, np.int32)
        instances = np.zeros(len(ids), np.int32)
        for i, segment_id in enumerate(ids.tolist()):
            segment = known.get(segment_id)
            if segment is None:
                continue
            labels[i] = self._label_of[segment['category_id']]
            # A crowd is several objects without boundaries.
            if self.is_thing[labels[i]] and not segment.get('iscrowd', 0):
                instances[i] = i + 1
        return labels, instances


class MaskImages:
    """mmseg: a folder of images, and a folder of PNG files of class numbers.

    Args:
        img_dir, ann_dir: Folders; a mask has the relative path of its image.
        classes: Names of the classes.
        num_classes: In place of ``classes``.
        img_suffix, seg_map_suffix: Endings of images and masks.
        ignore_index: Label that is ignored, the only one.
        reduce_zero_label: Label 0 is ignored, 1 is the first class; ``ignore_index``
            is that after the shift, and the largest value (255, or 65535 of 16 bits) is
            not shifted, as in mmseg.

    Raises:
        FileNotFoundError: If a folder, all images, or a mask is missing.
        ValueError: If the number of classes is unknown.
    """

    is_thing = None

    def __init__(self, img_dir: str, ann_dir: str, classes: Sequence[str] | None = None,
                 num_classes: int | None = None, img_suffix: str = '.jpg',
                 seg_map_suffix: str = '.png', ignore_index: int = IGNORE,
                 reduce_zero_label: bool = False) -> None:
        if not classes and not num_classes:
            raise ValueError(
                f'{ann_dir}: give classes=[...] or num_classes=..., the masks do not '
                'tell how many there are.')
        self.classes = tuple(classes or (f'class {i}' for i in range(num_classes)))
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self._pairs = find_pairs(img_dir, ann_dir, img_suffix, seg_map_suffix)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> SegmentedImage:
        path, mask_path = self._pairs[index]
        image, mask = read_labeled_image(path, mask_path)
        if self.reduce_zero_label:
            top = np.iinfo(mask.dtype).max
            mask = np.where(mask == 0, self.ignore_index,
                            np.where(mask == top, top, mask.astype(np.int32) - 1))
        labels = _checked_labels(str(mask_path), mask, self.classes, self.ignore_index)
        return SegmentedImage(str(mask_path), image, labels, None)


class DatasetImages:
    """A registered dataset: items with ``img``, ``gt_seg_map``, ``gt_masks``.

    ``gt_masks``, (N, H, W) bool instance masks, may be missing. Classes with instances
    are ``thing_classes`` of its ``metainfo``; ``ignore_index`` of the dataset, or else
    255, is ignored.

    Args:
        dataset: Config, its pipeline empty, such as ``dict(type='ShapesDataset',
            num_images=200, split='val', with_annotations=True)``.

    Raises:
        ValueError: If the dataset has no classes or no items, or an item lacks a key.
    """

    def __init__(self, dataset: dict) -> None:
        # Our names need no scope, whatever the default scope of the run is.
        self._dataset = DATASETS.build(dict(_scope_='mmcontrast') | dataset)
        meta = self._dataset.metainfo
        self.classes = tuple(meta.get('classes') or ())
        if not self.classes or len(self._dataset) == 0:
            raise ValueError(
                f'{type_name(dataset)} has {len(self._dataset)} items and classes '
                f'{self.classes}; both are needed.')
        things = meta.get('thing_classes')
        self.is_thing = things and np.array([name in things for name in self.classes])

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> SegmentedImage:
        item = self._dataset[index]
        name = item.get('img_path', f'item {index}')
        if 'img' not in item or 'gt_seg_map' not in item:
            raise ValueError(
                f"{name}: a probe needs 'img' and 'gt_seg_map', the item holds "
                f'{sorted(item)}; is with_annotations=True set and the pipeline empty?')
        labels = _checked_labels(name, item['gt_seg_map'], self.classes,
                                 getattr(self._dataset, 'ignore_index', IGNORE))
        instances = None
        if (masks := item.get('gt_masks')) is not None:
            ids = np.arange(1, len(masks) + 1, dtype=np.int32)[:, None, None]
            instances = (masks * ids).max(0, initial=0)
        return SegmentedImage(name, Image.fromarray(item['img']), labels, instances)


def find_pairs(img_dir: str, ann_dir: str, img_suffix: str = '.jpg',
               seg_map_suffix: str = '.png') -> list[tuple[Path, Path]]:
    """Images below a folder and their masks: same path, other suffix.

    Raises:
        FileNotFoundError: If a folder, all images, or a mask is missing.
    """
    for folder in (img_dir, ann_dir):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'{folder}: no such folder of labeled images.')
    images = [Path(img_dir, name) for name in list_files(img_dir, (img_suffix,))]
    if not images:
        raise FileNotFoundError(
            f'{img_dir}: no file ends in {img_suffix!r}; set img_suffix.')
    stems = [str(path.relative_to(img_dir)) for path in images]
    stems = [stem[:len(stem) - len(img_suffix)] for stem in stems]
    masks = [Path(ann_dir, stem + seg_map_suffix) for stem in stems]
    missing = [str(mask) for mask in masks if not mask.is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(images)} images in {img_dir} have no mask in '
            f'{ann_dir}, first {", ".join(missing[:3])}; set seg_map_suffix, or take '
            'out the images without one.')
    return list(zip(images, masks, strict=True))


def _checked_labels(name: str, mask: np.ndarray, classes: Sequence[str], ignore: int
                    ) -> np.ndarray:
    """Labels as int32, with -1 for what is ignored."""
    mask = mask.astype(np.int32)  # of uint8, -1 would be 255
    ignored = mask == ignore
    bad = np.unique(mask[((mask >= len(classes)) | (mask < 0)) & ~ignored])
    if bad.size:
        raise UserValueError(
            f'{name}: labels {bad[:5].tolist()} are outside of the '
            f'{len(classes)} classes (0 to {len(classes) - 1}); give the classes of '
            f'this data, set ignore_index (now {ignore}) to its ignored label, or '
            'reduce_zero_label=True if 0 is that label.')
    return np.where(ignored, UNLABELED, mask)
