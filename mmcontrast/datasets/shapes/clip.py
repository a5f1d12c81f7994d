"""Draw short clips: the objects of a scene move over the ground."""
from dataclasses import dataclass, replace

from .plan import RandomStream, ScenePlan, plan_scene
from .scene import Scene, check_size, draw_plan

_MOTION_STREAM = 1  # Second word of the seed: the first frame stays the scene itself.
_EDGES_X = (0.06, 0.94)


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of T frames.

    Attributes:
        frames: T scenes. Object i of one frame is object i of every other, in
            ``objects`` and as ``i + 1`` in the maps; hidden behind another it keeps its
            index and has area 0.
    """

    frames: tuple[Scene, ...]

    @property
    def seed(self) -> int:
        return self.frames[0].seed


def draw_clip(seed: int, frames: int = 8, size: int = 128, *, combinations: str = 'all',
              num_objects: tuple[int, int] = (2, 6)) -> Clip:
    """Draw a clip whose first frame is ``draw_scene`` with the same arguments.

    Objects move left and right, toward the viewer (growing) and away, tilt slightly,
    occlude each other and turn back at the edges of the image.

    Args:
        seed, size, combinations, num_objects: As for ``draw_scene``.
        frames: Number of frames.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_size(size)
    if frames < 1:
        raise ValueError(f'a clip needs at least 1 frame, got frames={frames}.')
    start = plan_scene(seed, combinations, num_objects)
    rng = RandomStream(seed, _MOTION_STREAM)
    motions = [(rng.uniform(-0.04, 0.04), rng.uniform(-0.025, 0.025),
                rng.uniform(-4, 4)) for _ in start.objects]
    plans = [_at(start, motions, time) for time in range(frames)]
    return Clip(tuple(draw_plan(plan, size) for plan in plans))


def _at(start: ScenePlan, motions: list[tuple[float, float, float]], time: int
        ) -> ScenePlan:
    """The plan ``time`` frames later."""
    objects = []
    for thing, (step_x, step_y, turn) in zip(start.objects, motions, strict=True):
        foot_x = _bounce(thing.foot_x, step_x * time, *_EDGES_X)
        foot_y = _bounce(thing.foot_y, step_y * time, start.farthest_foot, 0.98)
        tilt = round(_bounce(thing.tilt, turn * time, -25, 25))
        objects.append(replace(start.moved(thing, foot_x, foot_y), tilt=tilt))
    shift_x, shift_y = start.noise_shift
    noise_shift = ((shift_x + 7 * time) % 32, (shift_y + 13 * time) % 32)
    return replace(start, objects=tuple(objects), noise_shift=noise_shift)


def _bounce(start: float, way: float, low: float, high: float) -> float:
    """Where a ball ends that rolls ``way`` from ``start`` between two walls."""
    low, high = min(low, start), max(high, start)
    if way == 0:
        return start
    position = (start - low + way) % (2 * (high - low))
    return low + min(position, 2 * (high - low) - position)
