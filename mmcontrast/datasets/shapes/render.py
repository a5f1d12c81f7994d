"""Render a plan: the image, and which object is visible at each pixel."""
import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .outlines import outline
from .plan import RGB, ObjectPlan, ScenePlan
from .textures import noise_tiles, sample_tile, to_fixed

_SUBPIXEL_BITS = 4
_RIM = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True, eq=False)
class Patch:
    """One object drawn alone.

    Attributes:
        rgb: (h, w, 3) uint8, textured everywhere, also beyond the outline.
        alpha: (h, w) uint8, soft at the edges of the outline.
        left, top: Position of the patch in the image; may be negative.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    left: int
    top: int


@dataclass(frozen=True, eq=False)
class Canvas:
    """A drawn scene.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        is_ground: (S, S) bool, where the ground would be visible without objects.
        instance_map: (S, S) uint8, 0 for no object, else 1 + its index in the plan.
        patches: One for each planned object, in the same order.
    """

    image: np.ndarray
    is_ground: np.ndarray
    instance_map: np.ndarray
    patches: tuple[Patch, ...]


def render(plan: ScenePlan, size: int) -> Canvas:
    """Draw a plan at ``size`` x ``size`` pixels, background first, nearest last."""
    is_ground = _ground_area(plan, size)
    image = _background(plan, size, is_ground)
    image = _with_shadows(image, plan)
    instance_map = np.zeros((size, size), np.uint8)
    patches = [draw_object(thing, size) for thing in plan.objects]
    nearness = sorted(range(len(patches)), key=lambda i: plan.objects[i].foot_y)
    for i in nearness:
        _paste(patches[i], i + 1, image, instance_map)
    return Canvas(_camera_effects(image, plan), is_ground, instance_map, tuple(patches))


def draw_object(thing: ObjectPlan, size: int) -> Patch:
    """Draw an object alone, whole even where the image would cut it."""
    left, top, right, bottom = (side * size for side in thing.box)
    # One pixel of room for the soft edge.
    left, top = math.floor(left) - 1, math.floor(top) - 1
    width, height = math.ceil(right) + 1 - left, math.ceil(bottom) + 1 - top
    # cv2 counts from pixel centers, hence the half pixel.
    foot = np.array([thing.foot_x * size - left - 0.5, thing.foot_y * size - top - 0.5])
    scale = 1 << _SUBPIXEL_BITS
    contours = [
        np.rint((contour * (thing.size * size) + foot) * scale).astype(np.int32)
        for contour in outline(thing.shape, thing.tilt)]
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillPoly(alpha, contours, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    rgb = _object_pixels(thing, size, foot, height, width)
    # A thin dark rim keeps an object visible on ground of its own color.
    rim = cv2.erode(alpha, _RIM) < 128
    rgb[rim] = rgb[rim] // 5 * 3
    return Patch(rgb, alpha, left, top)


def _object_pixels(thing: ObjectPlan, size: int, foot: np.ndarray, height: int,
                   width: int) -> np.ndarray:
    """The texture, turned with the object and a little darker towards its foot."""
    angle = math.radians(thing.tilt + thing.texture_angle)
    step = thing.repeats / (thing.size * size)
    cos, sin = to_fixed(step * math.cos(angle)), to_fixed(step * math.sin(angle))
    x, y = _pixels(width) - int(foot[0]), _pixels(height)[:, None] - int(foot[1])
    shift_u, shift_v = to_fixed(thing.shift[0]), to_fixed(thing.shift[1])
    values = sample_tile(
        thing.texture, cos * x + sin * y + shift_u, cos * y - sin * x + shift_v)
    shade = (63 - 63 * _pixels(height) // height).astype(np.uint8)
    values = (values >> 1) + (values >> 2) + shade[:, None]
    return _ramp(thing.dark, thing.bright).take(values, axis=0)


def _ground_area(plan: ScenePlan, size: int) -> np.ndarray:
    amplitude, cycles, phase = plan.wave
    x = _pixels(size) / size
    edge = plan.horizon + amplitude * np.sin(2 * np.pi * cycles * x + phase)
    return _pixels(size)[:, None] >= np.rint(edge * size).astype(np.int32)


def _background(plan: ScenePlan, size: int, is_ground: np.ndarray) -> np.ndarray:
    ground_rows = is_ground.any(axis=1)
    top = int(ground_rows.argmax())
    bottom = size - int(is_ground.all(axis=1)[::-1].argmin())
    values = np.empty((size, size), np.int32)
    values[:bottom] = _sky_values(plan, size, bottom)
    ground = _ground_values(plan, size, top)
    np.copyto(values[top:], ground + 256, where=is_ground[top:])
    ramps = np.concatenate([_ramp(plan.sky.dark, plan.sky.bright),
                            _ramp(plan.ground.dark, plan.ground.bright)])
    return ramps.take(values, axis=0)


def _sky_values(plan: ScenePlan, size: int, rows: int) -> np.ndarray:
    """Texture (a third of the contrast if striped) over a slope to the horizon."""
    step = to_fixed(plan.sky.repeats / size)
    values = sample_tile(
        plan.sky.texture, step * _pixels(size) + to_fixed(plan.sky.shift[0]),
        step * _pixels(rows)[:, None] + to_fixed(plan.sky.shift[1])).astype(np.int32)
    values = values * (1 if plan.sky.texture == 'striped' else 2) // 3
    return values + (84 * _pixels(rows) // max(rows, 1))[:, None]


def _ground_values(plan: ScenePlan, size: int, top: int) -> np.ndarray:
    """The texture in perspective, fading towards the horizon."""
    depth = (_pixels(size)[top:] / size - plan.horizon) / (1 - plan.horizon)
    depth = np.maximum(depth, 0) + 0.12
    stretch = plan.ground.repeats / depth
    u = to_fixed(stretch * 0.6 / size)[:, None] * (_pixels(size) - size // 2)
    v = to_fixed(stretch * 0.5 + plan.ground.shift[1])[:, None]
    values = sample_tile(plan.ground.texture, u + to_fixed(plan.ground.shift[0]), v)
    fade = np.clip(depth * 700, 0, 220).astype(np.int32)[:, None]
    return 128 + ((values.astype(np.int32) - 128) * fade >> 8)


def _with_shadows(image: np.ndarray, plan: ScenePlan) -> np.ndarray:
    size = len(image)
    gains = np.full((size, size), 128, np.uint8)
    for thing in plan.objects:
        left, _, right, bottom = thing.box
        half = (right - left) * size / 2
        center = (round(thing.foot_x * size), round(bottom * size))
        axes = (max(round(half * 0.85), 1), max(round(half * 0.28), 1))
        cv2.ellipse(gains, center, axes, 0, 0, 360, 70, -1)
    gains = cv2.blur(gains, (2 * (size // 48) + 1,) * 2)
    return cv2.multiply(image, cv2.cvtColor(gains, cv2.COLOR_GRAY2RGB), scale=1 / 128)


def _paste(patch: Patch, instance: int, image: np.ndarray,
           instance_map: np.ndarray) -> None:
    inside, source = _overlap(patch, len(image))
    alpha = patch.alpha[source]
    share = alpha[..., None].astype(np.int32)
    target = image[inside].astype(np.int32)
    target += (patch.rgb[source] - target) * share // 255
    image[inside] = target
    instance_map[inside][alpha > 127] = instance


def _overlap(patch: Patch, size: int) -> tuple[tuple[slice, slice], ...]:
    """Where a patch lies in the image, and which part of the patch that is."""
    height, width = patch.alpha.shape
    left, top = max(patch.left, 0), max(patch.top, 0)
    right, bottom = min(patch.left + width, size), min(patch.top + height, size)
    return ((slice(top, bottom), slice(left, right)),
            (slice(top - patch.top, bottom - patch.top),
             slice(left - patch.left, right - patch.left)))


def full_mask(patch: Patch, size: int) -> np.ndarray:
    """(S, S) bool: the object within the image, occluded parts included."""
    mask = np.zeros((size, size), bool)
    inside, source = _overlap(patch, size)
    mask[inside] = patch.alpha[source] > 127
    return mask


def _camera_effects(image: np.ndarray, plan: ScenePlan) -> np.ndarray:
    """Uneven colored light, sometimes blur, and noise."""
    size = len(image)
    gains = np.rint(np.array(plan.light) * 128).astype(np.uint8).reshape(3, 3, 3)
    gains = cv2.resize(gains, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
    image = cv2.multiply(image, gains, scale=1 / 128)
    if plan.blurred:
        image = cv2.blur(image, (3, 3))
    added, taken = noise_tiles(size, plan.noise_strength)
    x, y = plan.noise_shift
    image = cv2.add(image, added[y:y + size, x:x + size])
    return cv2.subtract(image, taken[y:y + size, x:x + size])


def _ramp(dark: RGB, bright: RGB) -> np.ndarray:
    """(256, 3) uint8 colors from dark to bright."""
    low, high = np.array(dark), np.array(bright)
    return (low + (high - low) * _pixels(256)[:, None] // 255).astype(np.uint8)


@lru_cache(maxsize=256)
def _pixels(count: int) -> np.ndarray:
    pixels = np.arange(count, dtype=np.int32)
    pixels.setflags(write=False)
    return pixels
