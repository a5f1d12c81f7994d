"""Update boxes, masks and label maps of an image after objects were pasted into it."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import UserValueError


@dataclass(frozen=True)
class OcclusionRule:
    """When an object that was partly hidden is still labeled.

    It stays if no edge of its box moved by more than ``max_shift`` pixels, or if more
    than ``min_area`` pixels of it are left; one that is hidden as a whole goes. Source:
    mmdet's ``CopyPaste`` (bbox_occluded_thr, mask_occluded_thr), which however keeps
    objects without a visible pixel at the top left corner.
    """

    max_shift: float = 10
    min_area: float = 300

    def keeps(self, before: np.ndarray, after: np.ndarray, areas: np.ndarray
              ) -> np.ndarray:
        """(N,) bool.

        Args:
            before, after: (N, 4) boxes (x1, y1, x2, y2).
            areas: (N,) visible pixels.
        """
        near = (np.abs(after - before) <= self.max_shift).all(1)
        return (areas > 0) & (near | (areas > self.min_area))


def add_labels(results: dict, layers: Sequence[np.ndarray], labels: Sequence[int],
               rule: OcclusionRule) -> None:
    """Enter pasted objects into what the results of a pipeline hold, in place.

    ``gt_seg_map`` gets the classes. Boxes, and masks if there are any, lose what is
    hidden, and the objects are appended with theirs. Only what is hidden changes: edges
    of boxes that were not covered keep their fractions. Without masks, an object is
    taken to fill its box.

    Args:
        results: Of an mmdet or mmseg pipeline.
        layers: Of each pasted object (H, W) bool, its pixels; later ones cover earlier.
        labels: Its class index.
        rule: Which hidden objects stay.
    """
    if not layers:
        return
    if results.get('gt_seg_map') is not None:
        seg_map = results['gt_seg_map'].copy()
        for layer, label in zip(layers, labels, strict=True):
            seg_map[layer] = label
        results['gt_seg_map'] = seg_map
    if 'gt_bboxes' in results:
        _add_instances(results, np.stack(layers), np.array(labels, np.int64), rule)


def boxes_xyxy(results: dict) -> np.ndarray:
    """(N, 4) boxes of the results, an array of their own; (0, 4) without boxes.

    Raises:
        UserValueError: If boxes are not (N, 4).
    """
    boxes = results.get('gt_bboxes')
    if boxes is None:
        return np.zeros((0, 4), np.float32)
    values = boxes.tensor.numpy() if hasattr(boxes, 'tensor') else boxes
    array = np.array(values, np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise UserValueError(
            f'gt_bboxes must be (N, 4) boxes (x1, y1, x2, y2), got {array.shape} in '
            f'{type(boxes).__name__}. Rotated boxes cannot be pasted.')
    return array


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool masks -> (N, 4) float32 boxes around them, ends exclusive.

    An empty mask has the box (0, 0, 0, 0).
    """
    edges = []
    for axis in (1, 2):  # seen from above: columns; from the side: rows
        lines = masks.any(axis)
        first, behind = lines.argmax(1), lines[:, ::-1].argmax(1)
        edges.append((first, np.where(lines.any(1), lines.shape[1] - behind, 0)))
    (left, right), (top, bottom) = edges
    return np.stack([left, top, right, bottom], 1).astype(np.float32)


def _add_instances(results: dict, layers: np.ndarray, labels: np.ndarray,
                   rule: OcclusionRule) -> None:
    """Boxes, labels, flags and masks of what was there and of what was pasted."""
    masks = _bitmaps(results)
    stack = None if masks is None else masks.masks.astype(bool)
    boxes, stack, kept = _uncover(boxes_xyxy(results), stack, layers.any(0), rule)
    # Later objects lie on top of earlier ones.
    above = np.logical_or.accumulate(layers[::-1])[::-1]
    visible = layers.copy()
    visible[:-1] &= ~above[1:]
    new = mask_boxes(visible)
    shown = rule.keeps(mask_boxes(layers), new, visible.sum((1, 2)))
    if masks is not None:
        stack = np.concatenate([stack, visible[shown]]).astype(np.uint8)
        results['gt_masks'] = type(masks)(stack, *stack.shape[1:])
    _set_boxes(results, np.concatenate([boxes, new[shown]]))
    for key, values in (('gt_bboxes_labels', labels[shown]),
                        ('gt_ignore_flags', np.zeros(shown.sum(), bool))):
        if key in results:
            results[key] = np.concatenate([results[key][kept], values]).astype(
                results[key].dtype)


def _bitmaps(results: dict):
    """The masks as mmdet's ``BitmapMasks``; None without masks."""
    masks = results.get('gt_masks')
    if masks is None or isinstance(masks.masks, np.ndarray):
        return masks
    return masks.to_bitmap()  # of polygons


def _uncover(boxes: np.ndarray, masks: np.ndarray | None, covered: np.ndarray,
             rule: OcclusionRule) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Boxes and masks of the objects that stay, without what is covered.

    Args:
        boxes: (N, 4), changed in place.
        masks: (N, H, W) bool, changed in place, or None.
        covered: (H, W) bool.

    Returns:
        Boxes and masks of those that stay, and which they are, (N,) bool.
    """
    left, top, right, bottom = mask_boxes(covered[None])[0].astype(int)
    if masks is None:
        touched = ((boxes[:, :2] < (right, bottom)) & (boxes[:, 2:] > (left, top))
                   ).all(1)
        before = _filled(boxes[touched], covered.shape)
    else:
        touched = masks[:, top:bottom, left:right].any((1, 2))
        before = masks[touched]
    after = before & ~covered
    # An edge that did not move keeps the fraction of the annotation.
    old, new = mask_boxes(before), mask_boxes(after)
    new = np.where(new == old, boxes[touched], new)
    kept = np.ones(len(boxes), bool)
    kept[touched] = rule.keeps(boxes[touched], new, after.sum((1, 2)))
    boxes[touched] = new
    if masks is not None:
        masks[touched] = after
        masks = masks[kept]
    return boxes[kept], masks, kept


def _filled(boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool: the pixels that boxes touch."""
    low, high = np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])
    rows, columns = (
        (np.arange(length) >= low[:, axis, None])
        & (np.arange(length) < high[:, axis, None])
        for axis, length in ((1, size_hw[0]), (0, size_hw[1])))
    return rows[:, :, None] & columns[:, None]


def _set_boxes(results: dict, boxes: np.ndarray) -> None:
    """Store boxes in the type that they came in: mmdet's boxes or an array."""
    old = results['gt_bboxes']
    results['gt_bboxes'] = (
        type(old)(torch.from_numpy(boxes)) if hasattr(old, 'tensor')
        else boxes.astype(old.dtype))
