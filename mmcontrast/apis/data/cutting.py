"""Choose the objects of an image that can be cut out, and say why others cannot."""
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from ...datasets.coco_masks import decode_mask
from .inpainting import dilated

# Pixels within which two objects touch.
_GAP = 3
# Pixels of room that an object leaves if the edge of the image does not cut it off: a
# polygon that ends at 639.4 of 640 pixels fills columns up to 638.
_BORDER = 2
OCCLUDED = 'occluded, or touching another object'


@dataclass(frozen=True)
class Rules:
    """Which objects are good for placement pairs.

    Attributes:
        min_scale, max_scale: Range of max(w / W, h / H), the share of the image that
            the object takes.
        min_side: Least side of its box in pixels.
        max_aspect: Largest ratio of the sides of its box.
        max_holes: Largest share of its filled outline that is holes: often other
            objects that nobody labeled.
        min_whole: Least share of its pixels in its largest connected component;
            fragmented objects are usually covered by something.
    """

    min_scale: float = 0.05
    max_scale: float = 0.8
    min_side: int = 16
    max_aspect: float = 5.0
    max_holes: float = 0.35
    min_whole: float = 0.95

    def reason(self, mask: np.ndarray) -> str | None:
        """What is wrong with an object by itself; None if nothing is.

        Args:
            mask: (H, W) bool.
        """
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(rows):
            return 'empty mask'
        top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
        room = min(top, left, mask.shape[0] - 1 - bottom, mask.shape[1] - 1 - right)
        if room < _BORDER:
            return 'touches the border'
        sides = right - left + 1, bottom - top + 1
        scale = max(sides[0] / mask.shape[1], sides[1] / mask.shape[0])
        if scale < self.min_scale or min(sides) < self.min_side:
            return 'tiny'
        if scale > self.max_scale:
            return 'huge'
        if max(sides) > self.max_aspect * min(sides):
            return 'long and thin'
        box = mask[top:bottom + 1, left:right + 1]
        filled = ndimage.binary_fill_holes(box)
        if 1 - box.sum() / filled.sum() > self.max_holes:
            return 'has holes'
        areas = cv2.connectedComponentsWithStats(box.astype(np.uint8))[2][1:, -1]
        return 'fragmented' if areas.max() < self.min_whole * areas.sum() else None


@dataclass(frozen=True, eq=False)
class Instances:
    """The annotated objects of one image.

    Attributes:
        masks: (N, H, W) bool; the box of an object without a mask is filled.
        problems: What keeps each from being cut out, apart from :class:`Rules`.
    """

    masks: np.ndarray
    problems: tuple[str | None, ...]

    @classmethod
    def of(cls, annotations: Sequence[dict], size_hw: tuple[int, int]) -> 'Instances':
        """Decode COCO annotations of one image: polygons, RLE, boxes, crowds."""
        masks = np.zeros((len(annotations), *size_hw), bool)
        problems = []
        for mask, annotation in zip(masks, annotations, strict=True):
            problem = 'crowd' if annotation.get('iscrowd') else None
            if not annotation.get('segmentation'):
                problem = problem or 'no mask'
                _fill_box(mask, annotation['bbox'])
            else:
                try:
                    mask[:] = decode_mask(annotation['segmentation'], size_hw)
                except (ValueError, TypeError, KeyError, OverflowError):
                    problem = 'damaged mask'
                    _fill_box(mask, annotation['bbox'])
            problems.append(problem)
        return cls(masks, tuple(problems))

    def reasons(self, rules: Rules) -> list[str | None]:
        """Why each object cannot be cut out; None where it can."""
        cover = self.masks.sum(0, dtype=np.uint16)
        return [problem or rules.reason(mask)
                or (OCCLUDED if _touches(mask, cover) else None)
                for mask, problem in zip(self.masks, self.problems, strict=True)]


def _fill_box(mask: np.ndarray, box: Sequence[float]) -> None:
    x, y, width, height = box
    # Clipped as floats: numbers of a file may be beyond all integers.
    left, right = np.clip([np.floor(x), np.ceil(x + width)], 0, mask.shape[1])
    top, bottom = np.clip([np.floor(y), np.ceil(y + height)], 0, mask.shape[0])
    mask[int(top):int(bottom), int(left):int(right)] = True


def _touches(mask: np.ndarray, cover: np.ndarray) -> bool:
    """Whether another object lies within a few pixels: it may cover this one.

    Args:
        cover: (H, W), the number of objects at each pixel.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    near = np.s_[max(y - _GAP, 0):y + height + _GAP, max(x - _GAP, 0):x + width + _GAP]
    others = cover[near] > mask[near]
    return bool((others & dilated(mask[near], _GAP)).any())
