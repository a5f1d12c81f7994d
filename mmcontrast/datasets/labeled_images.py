"""Load a small labeled set into memory, for probes that run again and again."""
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .segmented_images import DatasetImages, MaskImages


@dataclass(frozen=True)
class LabeledImages:
    """Images of one size with a class for every pixel.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N, H, W) int16; -1 is ignored.
        classes: Names of the K classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def load_labeled_images(dataset: dict, size: int | tuple[int, int] = 192,
                        limit: int | None = None) -> LabeledImages:
    """Read a labeled set, resized to one size.

    Args:
        dataset: Either folders in the layout of mmseg, ``dict(img_dir=..., ann_dir=...,
            img_suffix='.jpg', seg_map_suffix='.png', classes=[...], ignore_index=255,
            reduce_zero_label=False)``, where ``num_classes`` may stand for
            ``classes``; or a registered dataset (``type=...``) whose items hold
            ``img`` (H, W, 3) uint8 RGB and ``gt_seg_map`` (H, W).
        size: Side in pixels, or (height, width). Images are resized with antialiasing,
            labels to the nearest.
        limit: Most images to take, evenly spaced over the set.

    Raises:
        FileNotFoundError: If a folder or the mask of an image is missing.
        ValueError: If labels do not fit the classes, or a mask does not fit its image.
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    source = DatasetImages(dataset) if 'type' in dataset else MaskImages(**dataset)
    images, labels = [], []
    for i in evenly_spaced(len(source), limit):
        item = source[i]
        images.append(
            np.asarray(item.image.resize(size[::-1], Image.Resampling.BILINEAR)))
        labels.append(_nearest(item.labels, size).astype(np.int16))
    return LabeledImages(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack(labels)), source.classes)


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize labels: each new pixel takes the label under its center."""
    rows, cols = (((np.arange(new) + 0.5) * old / new).astype(int)
                  for new, old in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], cols]


def evenly_spaced(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``count`` indices, evenly spaced and deterministic."""
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 1:
        raise ValueError(f'at least 1 image is needed, got a limit of {limit}.')
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()
