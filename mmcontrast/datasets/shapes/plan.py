"""What stands where in a scene: every random choice, and no pixel.

Lengths are shares of the picture's side, so one plan can be drawn at any size.
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
    """Sky or ground: its words, and the tones from its darkest to its brightest."""

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
        size: Size on the picture of an outline of unit size.
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
        """Left, top, right, bottom; may reach over the picture's edges."""
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
        light: (3, 3, 3) gains on a coarse grid over the picture, per channel.
        noise_strength, noise_shift: Camera noise and where its tile is read.
        objects: From the farthest to the nearest; places in it are object ids.
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
        """Size on the picture, at this height, of an object with ``world_size`` 1."""
        return 0.10 + 0.34 * (foot_y - self.horizon) / (1 - self.horizon)

    def moved(self, thing: ObjectPlan, foot_x: float, foot_y: float) -> ObjectPlan:
        """The object at another place, in the size that belongs there."""
        size = thing.world_size * self.depth_scale(foot_y)
        return replace(thing, foot_x=foot_x, foot_y=foot_y, size=size)


class Dice:
    """Random choices from one block of uniform numbers.

    Only ``Generator.random`` of PCG64 is used, whose stream numpy keeps; every choice
    is one number, so what is chosen first does not depend on what is chosen later.
    """

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(list(seed)))
        self._numbers = iter(())

    def number(self) -> float:
        """Uniform in [0, 1)."""
        for number in self._numbers:
            return number
        self._numbers = iter(self._generator.random(128).tolist())
        return next(self._numbers)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.number()

    def integer(self, low: int, high: int) -> int:
        """Uniform over ``low`` to ``high``, both included."""
        return low + int(self.number() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self.number() * len(options))]


def plan_scene(seed: int, combinations: str = 'all',
               num_objects: tuple[int, int] = (2, 6),
               whole_objects: bool = False) -> ScenePlan:
    """Choose everything about a scene.

    Args:
        seed: Not negative; equal seeds give equal scenes.
        combinations: Which (color, shape) pairs occur: 'all', 'seen' or 'held_out'.
        num_objects: Fewest and most objects to ask for. In a crowded scene some find
            no place, so that fewer stand there, but always at least one.
        whole_objects: Keep the objects off the picture's edges.
    """
    if seed < 0:
        raise ValueError(f'seed of a scene must be 0 or more, got {seed}.')
    fewest, most = num_objects
    if not 1 <= fewest <= most:
        raise ValueError(
            f'num_objects must be (fewest, most) with 1 <= fewest <= most, '
            f'got {num_objects}.')
    pairs = allowed_combinations(combinations)
    dice = Dice(seed)
    horizon = dice.uniform(0.22, 0.45)
    tint = [dice.uniform(0.88, 1.1) for _ in range(3)]
    plan = ScenePlan(
        seed=seed, combinations=combinations, horizon=horizon,
        wave=(dice.uniform(0, 0.03), dice.uniform(0.5, 2.5), dice.uniform(0, 6.28)),
        sky=_plan_stuff(dice, SKY_TEXTURES), ground=_plan_stuff(dice, TEXTURES),
        light=tuple(gain * tone for gain in
                    [dice.uniform(0.8, 1.25) for _ in range(9)] for tone in tint),
        noise_strength=dice.choice((2, 5, 9)),
        noise_shift=(dice.integer(0, 31), dice.integer(0, 31)),
        blurred=dice.number() < 0.25, objects=())
    things: list[ObjectPlan] = []
    for _ in range(dice.integer(fewest, most)):
        _add_object(dice, plan, things, pairs, whole_objects)
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


def _add_object(dice: Dice, plan: ScenePlan, things: list[ObjectPlan],
                pairs: Sequence[tuple[str, str]], whole: bool) -> None:
    """Choose an object and a free place for it; crowded scenes go without it."""
    thing = _plan_object(dice, pairs)
    for _ in range(_TRIES_PER_OBJECT):
        moved = plan.moved(thing, 0.5, dice.uniform(plan.farthest_foot, _NEAREST_FOOT))
        half = (moved.box[2] - moved.box[0]) / 2
        # At least three quarters of an object lie within the picture.
        margin = half if whole else half / 2
        moved = replace(moved, foot_x=dice.uniform(margin, 1 - margin))
        if _is_free(moved, things):
            things.append(moved)
            return


def _is_free(thing: ObjectPlan, others: Sequence[ObjectPlan]) -> bool:
    """Whether everybody, the newcomer included, stays visible enough."""
    boxes = [other.box for other in others] + [thing.box]
    return all(leaves_room(box, boxes[:i] + boxes[i + 1:])
               for i, box in enumerate(boxes))


def _plan_object(dice: Dice, pairs: Sequence[tuple[str, str]]) -> ObjectPlan:
    color, shape = dice.choice(pairs)
    base = [tone + dice.uniform(-14, 14) for tone in COLORS[color]]
    contrast = dice.uniform(0.45, 0.65)
    return ObjectPlan(
        shape=shape, color=color, texture=dice.choice(TEXTURES),
        foot_x=0.5, foot_y=1., size=1., world_size=dice.uniform(0.88, 1.12),
        tilt=dice.integer(-24, 24), dark=_tone(base, contrast, 0),
        bright=_tone(base, 1.05, 25), texture_angle=dice.choice((0, 30, 60, 90, 135)),
        repeats=dice.uniform(0.8, 1.3), shift=(dice.number(), dice.number()))


def _plan_stuff(dice: Dice, textures: Sequence[str]) -> StuffPlan:
    """Colors of the objects too, only paler: color alone tells nobody the class."""
    color = dice.choice(tuple(COLORS))
    base = COLORS[color]
    gray = sum(base) / 3
    saturation = dice.uniform(0.35, 0.85)
    base = [gray + saturation * (tone - gray) for tone in base]
    return StuffPlan(
        color=color, texture=dice.choice(textures),
        dark=_tone(base, dice.uniform(0.5, 0.75), 0), bright=_tone(base, 1.0, 35),
        repeats=dice.uniform(0.8, 1.4), shift=(dice.number(), dice.number()))


def _tone(base: Sequence[float], gain: float, lift: float) -> RGB:
    red, green, blue = (
        min(max(int(tone * gain + lift), 0), 255) for tone in base)
    return red, green, blue
