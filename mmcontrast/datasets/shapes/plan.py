"""Sample the layout of a scene: every random choice, before any pixel is drawn.

Lengths are shares of the image side, so one plan can be drawn at any size.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .outlines import extent
from .vocabulary import COLORS, SKY_TEXTURES, TEXTURES, allowed_combinations

T = TypeVar('T')
RGB = tuple[int, int, int]

MAX_OVERLAP = 0.4
"""Largest share of an object's box that the boxes of the others may cover together."""
_NEAREST_FOOT = 0.98
_TRIES_PER_OBJECT = 12


@dataclass(frozen=True)
class StuffPlan:
    """Sky or ground; ``dark`` and ``bright`` are the ends of its texture's colors."""

    color: str
    texture: str
    dark: RGB
    bright: RGB
    repeats: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class ObjectPlan:
    """One object; its foot is the middle of its box's lower edge.

    Attributes:
        size: Size in the image of an outline of unit size.
        world_size: Size before the scene's depth made the object smaller.
        tilt: Whole degrees, clockwise.
        texture_angle: Degrees, turned along with the object.
    """

    shape: str
    color: str
    texture: str
    foot_x: float
    foot_y: float
    size: float
    world_size: float
    tilt: int
    dark: RGB
    bright: RGB
    texture_angle: int
    repeats: float
    shift: tuple[float, float]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom; may reach beyond the image."""
        width, height = extent(self.shape, self.tilt)
        half = width * self.size / 2
        return (self.foot_x - half, self.foot_y - height * self.size,
                self.foot_x + half, self.foot_y)


@dataclass(frozen=True)
class ScenePlan:
    """All choices of one scene.

    Attributes:
        horizon: Height at which the ground would be infinitely far away.
        wave: Amplitude, cycles and phase of the ground's upper edge.
        light: (3, 3, 3) gains on a coarse grid over the image, per channel.
        noise_strength, noise_shift: Camera noise and where its tile is read.
        objects: From the farthest to the nearest; positions in it are object ids.
    """

    seed: int
    combinations: str
    horizon: float
    wave: tuple[float, float, float]
    sky: StuffPlan
    ground: StuffPlan
    light: tuple[float, ...]
    noise_strength: int
    noise_shift: tuple[int, int]
    blurred: bool
    objects: tuple[ObjectPlan, ...]

    @property
    def farthest_foot(self) -> float:
        """An object that stands here or lower stands on the ground at any x."""
        return self.horizon + self.wave[0] + 0.07

    def depth_scale(self, foot_y: float) -> float:
        """Size in the image, at this height, of an object with ``world_size`` 1."""
        return 0.10 + 0.34 * (foot_y - self.horizon) / (1 - self.horizon)

    def moved(self, thing: ObjectPlan, foot_x: float, foot_y: float) -> ObjectPlan:
        """The object at another place, at the size that fits the depth there."""
        size = thing.world_size * self.depth_scale(foot_y)
        return replace(thing, foot_x=foot_x, foot_y=foot_y, size=size)


class RandomStream:
    """Random choices that a seed repeats with every version of numpy.

    Only ``Generator.random`` of PCG64 is used, whose stream numpy guarantees; every
    choice takes one number, so earlier choices do not depend on later ones.
    """

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(list(seed)))
        self._numbers = iter(())

    def random(self) -> float:
        """Uniform in [0, 1)."""
        for number in self._numbers:
            return number
        self._numbers = iter(self._generator.random(128).tolist())
        return next(self._numbers)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def integer(self, low: int, high: int) -> int:
        """Uniform over ``low`` to ``high``, both included."""
        return low + int(self.random() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]


def plan_scene(seed: int, combinations: str = 'all',
               num_objects: tuple[int, int] = (2, 6),
               whole_objects: bool = False) -> ScenePlan:
    """Choose everything about a scene.

    Args:
        seed: Not negative; equal seeds give equal scenes.
        combinations: Which (color, shape) pairs occur: 'all', 'seen' or 'held_out'.
        num_objects: Fewest and most objects to ask for. In a crowded scene some find
            no place, so that there are fewer, but always at least one.
        whole_objects: Keep whole objects within the image.
    """
    if seed < 0:
        raise ValueError(f'seed of a scene must be 0 or more, got {seed}.')
    fewest, most = num_objects
    if not 1 <= fewest <= most:
        raise ValueError(
            f'num_objects must be (fewest, most) with 1 <= fewest <= most, '
            f'got {num_objects}.')
    pairs = allowed_combinations(combinations)
    rng = RandomStream(seed)
    horizon = rng.uniform(0.22, 0.45)
    tint = [rng.uniform(0.88, 1.1) for _ in range(3)]
    plan = ScenePlan(
        seed=seed, combinations=combinations, horizon=horizon,
        wave=(rng.uniform(0, 0.03), rng.uniform(0.5, 2.5), rng.uniform(0, 6.28)),
        sky=_plan_stuff(rng, SKY_TEXTURES), ground=_plan_stuff(rng, TEXTURES),
        light=tuple(gain * tone for gain in
                    [rng.uniform(0.8, 1.25) for _ in range(9)] for tone in tint),
        noise_strength=rng.choice((2, 5, 9)),
        noise_shift=(rng.integer(0, 31), rng.integer(0, 31)),
        blurred=rng.random() < 0.25, objects=())
    things: list[ObjectPlan] = []
    for _ in range(rng.integer(fewest, most)):
        _add_object(rng, plan, things, pairs, whole_objects)
    things.sort(key=lambda thing: thing.foot_y)
    return replace(plan, objects=tuple(things))


def leaves_room(box: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> bool:
    """Whether neither ``box`` nor any of the ``others`` is covered too much by it."""
    covered = 0.
    for other in others:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        if width > 0 and height > 0:
            covered += width * height
            if width * height > MAX_OVERLAP * _area(other):
                return False
    return covered <= MAX_OVERLAP * _area(box)


def _area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _add_object(rng: RandomStream, plan: ScenePlan, things: list[ObjectPlan],
                pairs: Sequence[tuple[str, str]], whole: bool) -> None:
    """Choose an object and a free place for it; crowded scenes go without it."""
    thing = _plan_object(rng, pairs)
    for _ in range(_TRIES_PER_OBJECT):
        moved = plan.moved(thing, 0.5, rng.uniform(plan.farthest_foot, _NEAREST_FOOT))
        half = (moved.box[2] - moved.box[0]) / 2
        # At least three quarters of an object lie within the image.
        margin = half if whole else half / 2
        moved = replace(moved, foot_x=rng.uniform(margin, 1 - margin))
        if _is_free(moved, things):
            things.append(moved)
            return


def _is_free(thing: ObjectPlan, others: Sequence[ObjectPlan]) -> bool:
    """Whether all objects, the new one included, stay visible enough."""
    boxes = [other.box for other in others] + [thing.box]
    return all(leaves_room(box, boxes[:i] + boxes[i + 1:])
               for i, box in enumerate(boxes))


def _plan_object(rng: RandomStream, pairs: Sequence[tuple[str, str]]) -> ObjectPlan:
    color, shape = rng.choice(pairs)
    base = [tone + rng.uniform(-14, 14) for tone in COLORS[color]]
    contrast = rng.uniform(0.45, 0.65)
    return ObjectPlan(
        shape=shape, color=color, texture=rng.choice(TEXTURES),
        foot_x=0.5, foot_y=1., size=1., world_size=rng.uniform(0.88, 1.12),
        tilt=rng.integer(-24, 24), dark=_tone(base, contrast, 0),
        bright=_tone(base, 1.05, 25), texture_angle=rng.choice((0, 30, 60, 90, 135)),
        repeats=rng.uniform(0.8, 1.3), shift=(rng.random(), rng.random()))


def _plan_stuff(rng: RandomStream, textures: Sequence[str]) -> StuffPlan:
    """Colors of the objects, only paler: color alone does not reveal the class."""
    color = rng.choice(tuple(COLORS))
    base = COLORS[color]
    gray = sum(base) / 3
    saturation = rng.uniform(0.35, 0.85)
    base = [gray + saturation * (tone - gray) for tone in base]
    return StuffPlan(
        color=color, texture=rng.choice(textures),
        dark=_tone(base, rng.uniform(0.5, 0.75), 0), bright=_tone(base, 1.0, 35),
        repeats=rng.uniform(0.8, 1.4), shift=(rng.random(), rng.random()))


def _tone(base: Sequence[float], gain: float, lift: float) -> RGB:
    red, green, blue = (
        min(max(int(tone * gain + lift), 0), 255) for tone in base)
    return red, green, blue
