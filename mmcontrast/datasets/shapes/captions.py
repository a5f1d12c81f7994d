"""Write captions: sentences about a whole image."""
from collections.abc import Sequence
from itertools import combinations as subsets

from .objects import (
    CLEAR_SHARE,
    RELATIONS,
    SceneObject,
    full_description,
    holds,
    phrase,
    with_article,
)
from .plan import ScenePlan

_NUMBERS = ('no', 'one', 'two', 'three', 'four', 'five', 'six')


def captions(plan: ScenePlan, objects: Sequence[SceneObject], size: int
             ) -> tuple[str, ...]:
    """Sentences about the whole image.

    Args:
        size: Side of the image in pixels.

    Returns:
        All objects with their numbers; the number of shapes with sky and ground; and,
        if two objects are clearly side by side or above each other, their relation.
    """
    things = [thing for thing in objects if thing.area]
    phrases = [phrase(full_description(thing)) for thing in things]
    counted = [_counted(phrases.count(text), text) for text in dict.fromkeys(phrases)]
    sky, ground = plan.sky, plan.ground
    count = len(things)
    found = [
        _listed(counted),
        f'{_NUMBERS[count] if count < len(_NUMBERS) else count} '
        f'shape{"s" * (count != 1)} on {with_article(ground.texture)} {ground.color} '
        f'ground under {with_article(sky.texture)} {sky.color} sky']
    for left, right in subsets(range(len(things)), 2):
        for relation in RELATIONS:
            if phrases[left] != phrases[right] and holds(
                    relation, things[left], things[right], size * CLEAR_SHARE):
                found.append(f'{with_article(phrases[left])} {relation} '
                             f'{with_article(phrases[right])}')
                return tuple(found)
    return tuple(found)


def _counted(count: int, text: str) -> str:
    if count == 1:
        return with_article(text)
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f'{number} {text}{"es" if text.endswith("cross") else "s"}'


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return ''.join(items)
    return f'{", ".join(items[:-1])} and {items[-1]}'
