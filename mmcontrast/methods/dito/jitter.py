"""Resize, crop and pad images to a square: large-scale jitter."""
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from ...registry import TRANSFORMS

#: CLIP's mean color, 255 * (0.48145466, 0.4578275, 0.40821073), in BGR.
CLIP_MEAN_BGR = (104.09, 116.75, 122.77)


@dataclass(frozen=True)
class Placement:
    """Where a resized image lies in the square that the network sees.

    Attributes:
        resized: (height, width) of the whole image after the resize.
        scale: (y, x) factors of the resize, new by old size.
        offset: (top, left) of the square in the resized image, in pixels.
        size: Side of the square.
    """

    resized: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int]
    size: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of what the square shows of the image; below: padding."""
        height, width = (min(self.size, side) for side in self.resized)
        return height, width

    @property
    def is_cropped(self) -> bool:
        return self.shape != self.resized

    @property
    def homography(self) -> np.ndarray:
        """(3, 3) float32 matrix from source pixels (x, y, 1) to the square."""
        (scale_y, scale_x), (top, left) = self.scale, self.offset
        return np.array([[scale_x, 0, -left], [0, scale_y, -top], [0, 0, 1]],
                        dtype=np.float32)


def place(shape: tuple[int, int], size: int, ratio: float = 1.0,
          shift: tuple[float, float] = (0.0, 0.0)) -> Placement:
    """Fit an image into a square of ``round(ratio * size)``, then crop it to ``size``.

    Source: the input pipeline of the released code, as recorded in the golden cases
    ``lsj_*``; sides are rounded, half to even, and never below one pixel.

    Args:
        shape: (height, width) of the image.
        size: Side of the square that the network sees, in pixels.
        ratio: Scale jitter; 1 fits the longest side to ``size``.
        shift: (y, x) in [0, 1): position of the crop in what is too large.
    """
    target = max(round(ratio * size), 1)
    factor = min(target / side for side in shape)
    resized = [max(round(side * factor), 1) for side in shape]
    scale = [new / old for new, old in zip(resized, shape, strict=True)]
    offset = [int(u * max(side - size, 0))
              for u, side in zip(shift, resized, strict=True)]
    return Placement(tuple(resized), tuple(scale), tuple(offset), size)


def place_boxes(boxes: Tensor, placement: Placement) -> tuple[Tensor, Tensor]:
    """Boxes of the image in the square.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in source pixels.

    Returns:
        (N, 4) boxes, clipped to [0, size - 1] as in the reference, and (N,) bool:
        which of them still have an area.
    """
    (scale_y, scale_x), (top, left) = placement.scale, placement.offset
    placed = boxes * boxes.new_tensor([scale_x, scale_y] * 2)
    placed = (placed - boxes.new_tensor([left, top] * 2)).clamp(0, placement.size - 1)
    return placed, (placed[:, 2:] > placed[:, :2]).all(dim=1)


def place_pixels(pixels: np.ndarray, placement: Placement,
                 pad_val: tuple[float, ...] = (0,), linear: bool = True) -> np.ndarray:
    """Resize, crop and pad an image or a mask; only pixels that remain are computed.

    Half-pixel centers, not antialiased, as in mmcv's resize; the reference samples
    without half-pixel centers. A crop may be off by 1/64 of a pixel.

    Args:
        pixels: (H, W) or (H, W, C) uint8 array.
        pad_val: Color of the padding, rounded.
        linear: Bilinear, otherwise nearest.

    Returns:
        (size, size) or (size, size, C) array.
    """
    height, width = placement.shape
    rows, columns = (_source_range(*axis) for axis in zip(
        placement.offset, placement.shape, placement.scale, pixels.shape, strict=False))
    resized = cv2.resize(
        pixels[rows.start:rows.stop, columns.start:columns.stop], None,
        fx=placement.scale[1], fy=placement.scale[0],
        interpolation=cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST)
    shown = resized[rows.skip:rows.skip + height, columns.skip:columns.skip + width]
    return cv2.copyMakeBorder(
        shown, 0, placement.size - height, 0, placement.size - width,
        cv2.BORDER_CONSTANT, value=[round(value) for value in pad_val])


class _Range(NamedTuple):
    """Source pixels from start to stop; their resize begins ``skip`` too early."""

    start: int
    stop: int
    skip: int


def _source_range(offset: int, count: int, scale: float, side: int) -> _Range:
    """What to resize along one axis for pixels ``offset`` to ``offset + count``.

    The range must start where a source pixel and a pixel of the result begin together,
    up to 1/64 pixel; the first source pixel always does.
    """
    begins = np.arange(max(int(offset / scale) - 1, 0) + 1) * scale
    start = np.flatnonzero(np.abs(begins - np.round(begins)) <= 1 / 64)[-1]
    stop = min(math.ceil((offset + count) / scale) + 2, side)
    return _Range(int(start), stop, offset - round(float(begins[start])))


@TRANSFORMS.register_module()
class LargeScaleJitter(BaseTransform):
    """Large-scale jitter: resize by a random factor, crop and pad to a square.

    mmdet's ``RandomResize``, ``RandomCrop`` and ``Pad`` in a row do nearly the same.
    They truncate the new size where the reference rounds it, clip boxes to the image
    instead of ``size - 1``, and compute pixels that the crop throws away: with a
    ratio of 2, three of four.

    The flip belongs before it (``mmdet.RandomFlip``), so that padding stays right and
    below. ``img_shape`` becomes the part that shows the image, ``pad_shape`` the
    square; ``scale_factor`` maps predictions back where nothing was cropped (always
    without jitter), ``homography_matrix`` maps everywhere.

    Required keys: ``img``; ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``,
    ``gt_masks`` where there are any.

    Args:
        size: Side of the square in pixels.
        ratio_range: Range of the scale jitter, uniform; None for tests: longest side
            to ``size``, no crop.
        pad_val: Color of the padding, in the channel order of the image (mmdet reads
            BGR). The default becomes zero once CLIP's mean is subtracted.
        max_boxes: Keep at most this many boxes, the first ones.
    """

    def __init__(self, size: int = 1024,
                 ratio_range: tuple[float, float] | None = (0.1, 2.0),
                 pad_val: tuple[float, float, float] = CLIP_MEAN_BGR,
                 max_boxes: int = 300) -> None:
        if ratio_range is not None and not 0 < ratio_range[0] <= ratio_range[1]:
            raise ValueError('LargeScaleJitter: ratio_range must be (low, high) with '
                             f'0 < low <= high, or None, got {ratio_range}.')
        self.size, self.ratio_range = size, ratio_range
        self.pad_val, self.max_boxes = pad_val, max_boxes

    def transform(self, results: dict, draws: tuple[float, float, float] | None = None
                  ) -> dict:
        """Place an image and its annotations.

        Args:
            results: Of mmdet's pipeline.
            draws: Uniform numbers in [0, 1) for ratio, top and left; drawn if None.
        """
        if 'gt_seg_map' in results:
            raise ValueError('LargeScaleJitter: gt_seg_map is not supported; set '
                             'with_seg=False in LoadAnnotations.')
        placement = self.draw(results['img'].shape[:2], draws)
        self._place_image(results, placement)
        if 'gt_bboxes' in results:
            self._place_instances(results, placement)
        return results

    def draw(self, shape: tuple[int, int],
             draws: tuple[float, float, float] | None = None) -> Placement:
        """Placement of an image of (height, width)."""
        if self.ratio_range is None:
            return place(shape, self.size)
        ratio, *shift = np.random.rand(3) if draws is None else draws
        low, high = self.ratio_range
        return place(shape, self.size, low + ratio * (high - low), tuple(shift))

    def _place_image(self, results: dict, placement: Placement) -> None:
        before = results.get('homography_matrix')
        results.update(
            img=place_pixels(results['img'], placement, self.pad_val),
            img_shape=placement.shape, pad_shape=(self.size, self.size),
            scale=placement.resized[::-1], scale_factor=placement.scale[::-1],
            keep_ratio=True, homography_matrix=placement.homography if before is None
            else placement.homography @ before)

    def _place_instances(self, results: dict, placement: Placement) -> None:
        boxes = results['gt_bboxes']
        placed, has_area = place_boxes(getattr(boxes, 'tensor', boxes), placement)
        kept = torch.nonzero(has_area)[:self.max_boxes, 0]
        placed = placed[kept]
        results['gt_bboxes'] = (
            placed if isinstance(boxes, Tensor) else type(boxes)(placed, clone=False))
        for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
            if key in results:
                results[key] = results[key][kept.numpy()]
        if 'gt_masks' in results:
            results['gt_masks'] = place_masks(results['gt_masks'][kept.numpy()],
                                              placement)


def place_masks(masks, placement: Placement):
    """mmdet's ``BitmapMasks`` or ``PolygonMasks`` of the image, in the square."""
    # Imported here: the rest of the module does not need mmdet.
    from mmdet.structures.mask import BitmapMasks
    size = placement.size
    if isinstance(masks, BitmapMasks):
        bitmaps = [place_pixels(mask.astype(np.uint8, copy=False), placement,
                                linear=False) for mask in masks.masks]
        return BitmapMasks(np.reshape(bitmaps, (-1, size, size)).astype(np.uint8),
                           size, size)
    masks = masks.resize(placement.resized)
    if placement.is_cropped:
        (top, left), (height, width) = placement.offset, placement.shape
        masks = masks.crop(np.array([left, top, left + width, top + height]))
    return masks.pad((size, size))
