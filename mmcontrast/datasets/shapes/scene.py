"""Draw a scene and give all its annotations."""
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .captions import captions
from .objects import SceneObject
from .plan import ScenePlan, plan_scene
from .referring import Referring, referring
from .render import Canvas, full_mask, render
from .vocabulary import GROUND_LABEL, SHAPES, SKY_LABEL

MIN_SIZE = 32


@dataclass(frozen=True)
class Segment:
    """One segment of the panoptic map."""

    id: int
    label: int
    is_thing: bool
    area: int


@dataclass(eq=False)
class Scene:
    """An image of the toy world and its annotations, for S x S pixels and N objects.

    Attributes:
        plan: The choices behind the image.
        image: (S, S, 3) uint8 RGB.
        instance_map: (S, S) uint8, 0 where no object is visible, else 1 + its index.
        objects: N objects, the farthest first.

    Maps and texts are computed on first access.
    """

    plan: ScenePlan
    image: np.ndarray
    instance_map: np.ndarray
    objects: tuple[SceneObject, ...]
    _canvas: Canvas

    @property
    def seed(self) -> int:
        return self.plan.seed

    @property
    def size(self) -> int:
        return len(self.image)

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, S, S) bool, visible pixels of each object."""
        ids = np.arange(1, len(self.objects) + 1, dtype=np.uint8)
        return self.instance_map == ids[:, None, None]

    @cached_property
    def amodal_masks(self) -> np.ndarray:
        """(N, S, S) bool, pixels of each object without occlusion."""
        masks = [full_mask(patch, self.size) for patch in self._canvas.patches]
        return np.array(masks, bool).reshape(-1, self.size, self.size)

    @cached_property
    def boxes_xyxy(self) -> np.ndarray:
        """(N, 4) float32, :attr:`SceneObject.box_xyxy` of all objects."""
        boxes = [thing.box_xyxy for thing in self.objects]
        return np.array(boxes, np.float32).reshape(-1, 4)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64, indices into ``CLASSES``."""
        return np.array([thing.label for thing in self.objects], np.int64)

    @cached_property
    def semantic_map(self) -> np.ndarray:
        """(S, S) uint8, indices into ``CLASSES``; every pixel has a class."""
        stuff = self._canvas.is_ground.view(np.uint8) + np.uint8(SKY_LABEL)
        table = np.array([0, *self.labels], np.uint8)
        return np.where(self.instance_map == 0, stuff, table.take(self.instance_map))

    @cached_property
    def panoptic_map(self) -> np.ndarray:
        """(S, S) int32 segment ids: objects 1 to N, sky N + 1, ground N + 2."""
        stuff = self._canvas.is_ground.astype(np.int32) + (len(self.objects) + 1)
        return np.where(self.instance_map == 0, stuff, self.instance_map)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of :attr:`panoptic_map` that have pixels."""
        areas = np.bincount(self.panoptic_map.ravel())
        labels = [-1, *self.labels.tolist(), SKY_LABEL, GROUND_LABEL]
        return tuple(
            Segment(id, labels[id], labels[id] < len(SHAPES), int(area))
            for id, area in enumerate(areas) if area)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """Sentences about the whole image, see :func:`captions.captions`."""
        return captions(self.plan, self.objects, self.size)

    @cached_property
    def referring(self) -> tuple[Referring, ...]:
        """Expressions for one, many and no object, see :func:`referring.referring`."""
        return referring(self.plan, self.objects, self.size)


def draw_scene(seed: int, size: int = 128, *, combinations: str = 'all',
               num_objects: tuple[int, int] = (2, 6)) -> Scene:
    """Draw one scene; the same arguments give the same scene, always and everywhere.

    Args:
        seed: Not negative. :func:`vocabulary.scene_seed` gives the seeds of a split.
        size: Side of the image in pixels; the same seed shows the same scene at
            every size.
        combinations: Which (color, shape) pairs occur: 'all', 'seen' or 'held_out'.
        num_objects: Fewest and most objects to ask for; a crowded scene may hold fewer,
            at least one.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_size(size)
    return draw_plan(plan_scene(seed, combinations, num_objects), size)


def draw_plan(plan: ScenePlan, size: int) -> Scene:
    """Draw a plan, and annotate what is visible."""
    canvas = render(plan, size)
    areas = np.bincount(
        canvas.instance_map.ravel(), minlength=len(plan.objects) + 1).tolist()
    objects = []
    for i, (thing, patch) in enumerate(zip(plan.objects, canvas.patches, strict=True)):
        box = _visible_box(canvas.instance_map, i + 1) if areas[i + 1] else (0,) * 4
        objects.append(SceneObject(
            thing.shape, thing.color, thing.texture, SHAPES.index(thing.shape), box,
            areas[i + 1], int(np.count_nonzero(full_mask(patch, size)))))
    return Scene(plan, canvas.image, canvas.instance_map, tuple(objects), canvas)


def check_size(size: int) -> None:
    """Raise ValueError unless objects would be recognizable at ``size`` pixels."""
    if size < MIN_SIZE:
        raise ValueError(
            f'size must be at least {MIN_SIZE} pixels, got {size}: smaller shapes '
            f'cannot be distinguished.')


def _visible_box(instance_map: np.ndarray, instance: int) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(cv2.inRange(
        instance_map, instance, instance))
    return left, top, left + width, top + height


