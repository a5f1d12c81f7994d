"""Draw placement pairs: a scene without an object, and boxes where it could stand."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .plan import ObjectPlan, RandomStream, ScenePlan, leaves_room, plan_scene
from .render import draw_object
from .scene import Scene, check_size, draw_plan

Box = tuple[float, float, float, float]

SIZE_TOLERANCE = 0.25
"""Largest relative error of a plausible height, against the one that fits the depth."""
IMPLAUSIBILITIES = ('outside', 'in_the_air', 'wrong_size', 'overlap')
"""What can be wrong with a box, in the order in which it is looked at."""
_PLACEMENT_STREAM = 3
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Placement:
    """An object, a background, and boxes in which the object is plausible or not.

    A box is plausible if the object stands on the ground at a size that fits the depth,
    lies within the image, and neither covers nor is covered by another object more
    than objects of the toy world ever are.

    Attributes:
        scene: The scene with the object.
        target: Index of the object in ``scene.objects``.
        background: The scene without the object and its shadow.
        cutout: (h, w, 4) uint8 RGBA of the whole object, cut to its box.
        box_xyxy: The true box, in pixels.
        positives: Plausible boxes in pixels, the true one first.
        negatives: Implausible boxes: in the air, too large, too small, or overlapping.
    """

    scene: Scene
    target: int
    background: Scene
    cutout: np.ndarray
    box_xyxy: Box
    positives: tuple[Box, ...]
    negatives: tuple[Box, ...]

    def is_plausible(self, box_xyxy: Sequence[float]) -> bool:
        """Whether the object could stand in a box (of its own shape, in pixels)."""
        box = tuple(side / self.scene.size for side in box_xyxy)
        return is_plausible(self._thing, box, self.background.plan)

    def compose(self, box_xyxy: Sequence[float]) -> np.ndarray:
        """Render the scene with the object in a box, with its shadow and lighting.

        The object keeps its aspect ratio: it has the height of the box and stands on
        the middle of its bottom edge; the width of the box is ignored.

        Returns:
            (S, S, 3) uint8 RGB image.
        """
        left, top, right, bottom = (side / self.scene.size for side in box_xyxy)
        height = self._thing.box[3] - self._thing.box[1]
        moved = replace(self._thing, foot_x=(left + right) / 2, foot_y=bottom,
                        size=self._thing.size * (bottom - top) / height)
        plan = self.background.plan
        plan = replace(plan, objects=(*plan.objects, moved))
        return draw_plan(plan, self.scene.size).image

    @cached_property
    def _thing(self) -> ObjectPlan:
        return self.scene.plan.objects[self.target]


@dataclass(frozen=True, eq=False)
class PlacementPlan:
    """All choices of a placement pair, before any pixel is drawn.

    Attributes:
        scene: The scene with the object.
        target: Index of the object in ``scene.objects``.
        positives, negatives: As of :class:`Placement`, in shares of the image side.
    """

    scene: ScenePlan
    target: int
    positives: tuple[Box, ...]
    negatives: tuple[Box, ...]

    @property
    def thing(self) -> ObjectPlan:
        """The object."""
        return self.scene.objects[self.target]

    @cached_property
    def background(self) -> ScenePlan:
        """The scene without the object."""
        return _without(self.scene, self.target)

    def implausibility(self, box: Box) -> str | None:
        """See :func:`implausibility`."""
        return implausibility(self.thing, box, self.background)


def plan_placement(seed: int, *, combinations: str = 'all',
                   num_objects: tuple[int, int] = (2, 6), num_boxes: int = 8
                   ) -> PlacementPlan:
    """Choose everything about a placement pair; see :func:`draw_placement`."""
    if num_boxes < 1:
        raise ValueError(f'num_boxes must be 1 or more, got {num_boxes}.')
    plan = plan_scene(seed, combinations, num_objects, whole_objects=True)
    rng = RandomStream(seed, _PLACEMENT_STREAM)
    target = rng.integer(0, len(plan.objects) - 1)
    thing, rest = plan.objects[target], _without(plan, target)
    positives = (thing.box, *_plausible_boxes(rng, thing, rest, num_boxes - 1))
    negatives = _implausible_boxes(rng, thing, rest, num_boxes)
    return PlacementPlan(plan, target, positives, tuple(negatives))


def draw_placement(seed: int, size: int = 128, *, combinations: str = 'all',
                   num_objects: tuple[int, int] = (2, 6), num_boxes: int = 8
                   ) -> Placement:
    """Draw a placement pair; all objects lie within the image.

    Args:
        seed, size, combinations, num_objects: As for ``draw_scene``. The scene differs
            from that of ``draw_scene``, which lets the image's edge cut objects.
        num_boxes: Most plausible and most implausible boxes to return; a crowded
            scene may have fewer plausible ones, at least the true one.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_size(size)
    plan = plan_placement(seed, combinations=combinations, num_objects=num_objects,
                          num_boxes=num_boxes)
    positives, negatives = (_in_pixels(boxes, size)
                            for boxes in (plan.positives, plan.negatives))
    return Placement(
        draw_plan(plan.scene, size), plan.target, draw_plan(plan.background, size),
        _cut_out(plan.thing, size), positives[0], positives, negatives)


def is_plausible(thing: ObjectPlan, box: Box, background: ScenePlan) -> bool:
    """The rule behind :meth:`Placement.is_plausible`, in shares of the image."""
    return implausibility(thing, box, background) is None


def implausibility(thing: ObjectPlan, box: Box, background: ScenePlan) -> str | None:
    """The first rule of the toy world that a box breaks, None if it is plausible.

    Returns:
        One of :data:`IMPLAUSIBILITIES`: 'outside' of the image, 'in_the_air', at a
        'wrong_size' for its depth, or 'overlap' with another object.
    """
    left, top, right, bottom = box
    slack = 1e-6
    if min(left, top) < -slack or max(right, bottom) > 1 + slack:
        return 'outside'
    if bottom < background.farthest_foot - slack:
        return 'in_the_air'
    moved = background.moved(thing, (left + right) / 2, bottom)
    ratio = (bottom - top) / (moved.box[3] - moved.box[1])
    if not 1 - SIZE_TOLERANCE <= ratio <= 1 + SIZE_TOLERANCE:
        return 'wrong_size'
    if not leaves_room(box, [other.box for other in background.objects]):
        return 'overlap'
    return None


def _without(plan: ScenePlan, target: int) -> ScenePlan:
    return replace(plan, objects=plan.objects[:target] + plan.objects[target + 1:])


def _plausible_boxes(rng: RandomStream, thing: ObjectPlan, background: ScenePlan,
                     count: int) -> list[Box]:
    boxes: list[Box] = []
    for _ in range(_TRIES):
        foot_y = rng.uniform(background.farthest_foot, 0.98)
        moved = background.moved(thing, rng.random(), foot_y)
        if len(boxes) < count and is_plausible(thing, moved.box, background):
            boxes.append(moved.box)
    return boxes


def _implausible_boxes(rng: RandomStream, thing: ObjectPlan, background: ScenePlan,
                       count: int) -> list[Box]:
    """Boxes that break one rule each, in turn, as far as the scene allows."""
    makers = (_in_the_air, _wrong_size, _in_the_way)
    boxes: list[Box] = []
    for i in range(_TRIES + count):
        box = makers[i % len(makers)](rng, thing, background).box
        if len(boxes) < count and not is_plausible(thing, box, background):
            boxes.append(box)
    return boxes


def _in_the_air(rng: RandomStream, thing: ObjectPlan, background: ScenePlan
                ) -> ObjectPlan:
    highest = min(thing.box[3] - thing.box[1], background.horizon - 0.02)
    foot_y = rng.uniform(highest, background.horizon - 0.02)
    return replace(thing, foot_x=rng.uniform(0.2, 0.8), foot_y=foot_y)


def _wrong_size(rng: RandomStream, thing: ObjectPlan, background: ScenePlan
                ) -> ObjectPlan:
    factor = rng.choice((0.4, 0.55, 1.6, 2.0))
    foot_y = rng.uniform(background.farthest_foot, 0.98)
    moved = background.moved(thing, rng.uniform(0.2, 0.8), foot_y)
    return replace(moved, size=moved.size * factor)


def _in_the_way(rng: RandomStream, thing: ObjectPlan, background: ScenePlan
                ) -> ObjectPlan:
    if not background.objects:
        return _wrong_size(rng, thing, background)
    other = rng.choice(background.objects)
    return background.moved(thing, other.foot_x, min(other.foot_y + 0.01, 0.98))


def _cut_out(thing: ObjectPlan, size: int) -> np.ndarray:
    patch = draw_object(thing, size)
    rgba = np.dstack([patch.rgb, patch.alpha])
    rows = np.flatnonzero(patch.alpha.any(axis=1))
    cols = np.flatnonzero(patch.alpha.any(axis=0))
    return rgba[rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1].copy()


def _in_pixels(boxes: Sequence[Box], size: int) -> tuple[Box, ...]:
    return tuple(tuple(side * size for side in box) for box in boxes)
