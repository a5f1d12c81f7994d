"""Represent a user's prompt: clicks, strokes, boxes, masks, texts, other regions."""
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np


@dataclass(frozen=True, eq=False)
class ReferenceRegion:
    """A region of another image that shows what is meant.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the region.
    """

    image: np.ndarray
    mask: np.ndarray

    def __post_init__(self) -> None:
        image, mask = np.asarray(self.image), np.asarray(self.mask)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError('ReferenceRegion: image must be (H, W, 3) uint8 RGB, got '
                             f'{image.shape} {image.dtype}.')
        if mask.shape != image.shape[:2] or mask.dtype != bool:
            raise ValueError(
                f'ReferenceRegion: mask must be (H, W) = {image.shape[:2]} bool, as '
                f'the image, got {mask.shape} {mask.dtype}.')
        object.__setattr__(self, 'image', image)
        object.__setattr__(self, 'mask', mask)


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a user points at or names in an image: clicks, boxes, strokes, masks, texts.

    Coordinates are (x, y) in pixels of the image as it was given, continuous, with
    (0, 0) at the top-left corner of the first pixel. Kinds may be combined; at least
    one must be given. Nested lists are converted to arrays.

    Attributes:
        points: (P, 2) float32, the clicks.
        point_labels: (P,) bool, whether a click belongs to the object; all do if left
            out.
        boxes_xyxy: (B, 4) float32, left, top, right, bottom; end exclusive.
        scribbles: Strokes, (S, 2) float32 each: points joined by lines.
        scribble_labels: One bool a stroke, whether it lies on the object; all do if
            left out.
        masks: (M, H, W) bool at the size of the image.
        regions: Regions of other images.
        texts: Names or descriptions of what is asked for.

    Raises:
        ValueError: If a field has another shape, a box has no area, a coordinate is
            not finite, or nothing is given.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    point_labels: np.ndarray | None = None
    boxes_xyxy: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 4), np.float32))
    scribbles: Sequence[np.ndarray] = ()
    scribble_labels: np.ndarray | None = None
    masks: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    regions: Sequence[ReferenceRegion] = ()
    texts: Sequence[str] = ()

    def __post_init__(self) -> None:
        points = _coordinates('points', '(P, 2)', self.points, 2)
        boxes = _coordinates('boxes_xyxy', '(B, 4)', self.boxes_xyxy, 4)
        wrong = (boxes[:, 2:] <= boxes[:, :2]).any(1)
        if wrong.any():
            raise ValueError(
                'Prompt: boxes_xyxy are left, top, right, bottom with left < right and '
                f'top < bottom, got {boxes[wrong][0].tolist()}.')
        scribbles = tuple(_coordinates(f'scribbles[{i}]', '(S, 2)', stroke, 2)
                          for i, stroke in enumerate(self.scribbles))
        texts = (self.texts,) if isinstance(self.texts, str) else tuple(self.texts)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(
                f'Prompt: texts must be strings that are not empty, got {texts!r}.')
        values = dict(
            points=points, boxes_xyxy=boxes, scribbles=scribbles, texts=texts,
            regions=tuple(self.regions), masks=_masks(self.masks),
            point_labels=_labels('point_labels', 'points', self.point_labels,
                                 len(points)),
            scribble_labels=_labels('scribble_labels', 'scribbles',
                                    self.scribble_labels, len(scribbles)))
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not self.kinds:
            raise ValueError(
                'Prompt: nothing is asked for; give at least one of points, '
                'boxes_xyxy, scribbles, masks, regions and texts.')

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the fields that hold something."""
        return tuple(f.name for f in fields(self) if not f.name.endswith('_labels')
                     and len(getattr(self, f.name)))

    def check_image(self, height: int, width: int) -> None:
        """Check that all coordinates and masks belong to an image of this size.

        Raises:
            ValueError: Names the first field that does not, with what was found.
        """
        limit = np.array([width, height])
        places = dict(points=self.points, boxes_xyxy=self.boxes_xyxy.reshape(-1, 2))
        places |= {f'scribbles[{i}]': s for i, s in enumerate(self.scribbles)}
        for name, place in places.items():
            outside = ((place < 0) | (place > limit)).any(1)
            if outside.any():
                raise ValueError(
                    f'Prompt: {name} must lie in the image of {width} x {height} '
                    f'pixels, got {place[outside][0].tolist()}.')
        if len(self.masks) and self.masks.shape[1:] != (height, width):
            raise ValueError(
                f'Prompt: masks must be (M, H, W) with (H, W) = {(height, width)}, the '
                f'size of the image, got {self.masks.shape}.')


def _coordinates(name: str, expected: str, value, columns: int) -> np.ndarray:
    """(N, columns) float32 of nested lists or an array; N may be 0."""
    array = np.asarray(value, np.float32)
    if array.size == 0:
        array = array.reshape(0, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f'Prompt: {name} must be {expected} in pixels, got shape '
                         f'{array.shape}.')
    if not np.isfinite(array).all():
        raise ValueError(f'Prompt: {name} must be finite, got '
                         f'{array[~np.isfinite(array).all(1)][0].tolist()}.')
    return array


def _labels(name: str, of: str, value, count: int) -> np.ndarray:
    labels = np.ones(count, bool) if value is None else np.asarray(value)
    if labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f'Prompt: {name} must be ({count},) of True (on the object) and False, one '
            f'for each of the {of}, got shape {labels.shape} with '
            f'{np.unique(labels).tolist()}.')
    return labels.astype(bool)


def _masks(value) -> np.ndarray:
    masks = np.asarray(value)
    if masks.size == 0:
        return np.zeros((0, 0, 0), bool)
    if masks.ndim != 3 or masks.dtype != bool:
        raise ValueError('Prompt: masks must be (M, H, W) bool, got shape '
                         f'{masks.shape} of {masks.dtype}.')
    return masks
