"""A small labeled set in memory, for probes that run again and again."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from PIL import Image
from torch import Tensor

from ..registry import DATASETS
from .transforms.loading import read_image

IGNORE = 255


@dataclass(frozen=True)
class LabeledImages:
    """Images of one size with a class for every pixel.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N, H, W) int16; 255 counts nowhere.
        classes: Names of the K classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def load_labeled_images(dataset: dict, size: int | tuple[int, int] = 192,
                         limit: int | None = None) -> LabeledImages:
    """Read a labeled set and bring it to one size.

    Args:
        dataset: Either folders in the layout of mmseg, ``dict(img_dir=..., ann_dir=...,
            img_suffix='.jpg', seg_map_suffix='.png', classes=[...], ignore_index=255,
            reduce_zero_label=False)``, where ``num_classes`` may stand for
            ``classes``; or a registered dataset (``type=...``) whose items hold
            ``img`` (H, W, 3) uint8 RGB and ``gt_seg_map`` (H, W).
        size: Side in pixels, or (height, width). Images are resized with antialiasing,
            labels to the nearest.
        limit: Most images to take, spread evenly over the set.

    Raises:
        FileNotFoundError: If a folder or the mask of an image is missing.
        ValueError: If labels do not fit the classes, or a mask does not fit its image.
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    if 'type' in dataset:
        items, classes, ignore = _registered(dataset, limit)
    else:
        items, classes, ignore = _folders(limit=limit, **dataset)
    images, labels = [], []
    for name, image, mask in items:
        images.append(np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)))
        labels.append(checked_labels(name, _nearest(mask, size), classes, ignore))
    return LabeledImages(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack(labels)), classes)


def _registered(dataset: dict, limit: int | None):
    """(items, classes, ignored label) of a registered dataset."""
    # Our names need no scope, whatever the default scope of the run is.
    built: BaseDataset = DATASETS.build(dict(_scope_='mmcontrast') | dataset)
    classes = built.metainfo.get('classes')
    if not classes or len(built) == 0:
        raise ValueError(
            f'{dataset["type"]} has {len(built)} items and classes {classes}; a probe '
            'needs both.')
    items = (read_item(built[i], i) for i in evenly_spaced(len(built), limit))
    return items, tuple(classes), IGNORE


def read_item(item: dict, index: int) -> tuple[str, Image.Image, np.ndarray]:
    """Name, image and labels of an item of a registered dataset."""
    name = item.get('img_path', f'item {index}')
    if 'img' not in item or 'gt_seg_map' not in item:
        raise ValueError(
            f"{name}: a probe needs 'img' and 'gt_seg_map', the item holds "
            f'{sorted(item)}; is with_annotations=True set and the pipeline empty?')
    return name, Image.fromarray(item['img']), item['gt_seg_map']


def _folders(img_dir: str, ann_dir: str, classes: Sequence[str] | None = None,
             num_classes: int | None = None, img_suffix: str = '.jpg',
             seg_map_suffix: str = '.png', ignore_index: int = IGNORE,
             reduce_zero_label: bool = False, limit: int | None = None):
    """(items, classes, ignored label) of folders in the layout of mmseg."""
    if classes is None:
        if not num_classes:
            raise ValueError(
                f'{ann_dir}: give classes=[...] or num_classes=..., a probe cannot '
                'know how many there are.')
        classes = [f'class {i}' for i in range(num_classes)]
    pairs = find_pairs(img_dir, ann_dir, img_suffix, seg_map_suffix)
    items = (read_pair(*pairs[i], reduce_zero_label)
             for i in evenly_spaced(len(pairs), limit))
    return items, tuple(classes), ignore_index


def find_pairs(img_dir: str, ann_dir: str, img_suffix: str = '.jpg',
               seg_map_suffix: str = '.png') -> list[tuple[Path, Path]]:
    """Images below a folder and their masks: same path, other suffix.

    Raises:
        FileNotFoundError: If a folder, all images, or a mask is missing.
    """
    for folder in (img_dir, ann_dir):
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'{folder}: no such folder of labeled images.')
    images = sorted(Path(img_dir).rglob(f'*{img_suffix}'))
    if not images:
        raise FileNotFoundError(
            f'{img_dir}: no file ends in {img_suffix!r}; set img_suffix.')
    stems = [str(path.relative_to(img_dir)).removesuffix(img_suffix) for path in images]
    masks = [Path(ann_dir, stem + seg_map_suffix) for stem in stems]
    missing = [str(mask) for mask in masks if not mask.is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(images)} images in {img_dir} have no mask in '
            f'{ann_dir}, first {", ".join(missing[:3])}; set seg_map_suffix, or take '
            'out the images without one.')
    return list(zip(images, masks, strict=True))


def read_pair(image_path: Path, mask_path: Path, reduce_zero_label: bool = False
              ) -> tuple[str, Image.Image, np.ndarray]:
    """Path of the mask, the image, and its (H, W) int32 mask.

    Raises:
        ValueError: If the mask is a color picture, or does not fit the image.
    """
    image = read_image(str(image_path))
    with Image.open(mask_path) as opened:
        if opened.mode not in ('L', 'P', 'I', 'I;16', '1'):
            raise ValueError(
                f'{mask_path}: a mask holds one class number a pixel (gray or palette '
                f'image), this one has mode {opened.mode}; convert its colors first.')
        mask = np.array(opened, np.int32)
    if mask.shape != image.size[::-1]:
        raise ValueError(
            f'{mask_path} is {mask.shape[1]} x {mask.shape[0]}, its image {image_path} '
            f'{image.size[0]} x {image.size[1]}; they must be of one size.')
    if reduce_zero_label:
        mask = np.where((mask == 0) | (mask == IGNORE), IGNORE, mask - 1)
    return str(mask_path), image, mask


def checked_labels(name: str, mask: np.ndarray, classes: Sequence[str], ignore: int
                   ) -> np.ndarray:
    """Labels as int16, with 255 for what is ignored."""
    ignored = (mask == ignore) | (mask == IGNORE)
    bad = np.unique(mask[(mask >= len(classes)) & ~ignored | (mask < 0)])
    if bad.size:
        raise ValueError(
            f'{name}: labels {bad[:5].tolist()} are no places in the list of '
            f'{len(classes)} classes (0 to {len(classes) - 1}); give the classes of '
            'this data, set ignore_index to its label for "nothing", or '
            'reduce_zero_label=True if 0 is that label.')
    return np.where(ignored, IGNORE, mask).astype(np.int16)


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize labels: each new pixel takes what lies under its center."""
    rows, cols = (((np.arange(new) + 0.5) * old / new).astype(int)
                  for new, old in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], cols]


def evenly_spaced(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``count`` places, evenly spread, always the same."""
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 1:
        raise ValueError(f'at least 1 image is needed, got a limit of {limit}.')
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()
