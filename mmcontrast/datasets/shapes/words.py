"""Words for objects, and what they mean: which objects a description fits.

A description is a set of words, one of each kind at most (texture, color, shape); it
fits an object that has all of them. Places are compared by the centers of the visible
boxes, and only where the difference is plain to see.
"""
from itertools import combinations as subsets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .scene import Scene, SceneObject

Description = dict[str, str]

KINDS = ('texture', 'color', 'shape')
RELATIONS = ('left of', 'right of', 'above', 'below')
PLAIN_SHARE = 0.08
"""Of the picture's side: a smaller difference in place is none."""
PLAIN_RATIO = 1.3
"""Of visible areas: a smaller difference in size is none."""
_FARTHEST = {'leftmost': 'left of', 'rightmost': 'right of', 'topmost': 'above'}
SUPERLATIVES = (*_FARTHEST, 'largest', 'smallest')


def phrase(words: Description, plural: bool = False) -> str:
    """'striped red circle', or 'striped red shape' for words without a shape."""
    noun = words.get('shape', 'shape')
    if plural:
        noun += 'es' if noun == 'cross' else 's'
    adjectives = [words[kind] for kind in KINDS[:2] if kind in words]
    return ' '.join([*adjectives, noun])


def article(text: str) -> str:
    """'a' or 'an', whichever goes before the text."""
    return 'an' if text[0] in 'aeiou' else 'a'


def full_words(thing: 'SceneObject') -> Description:
    """All three words of an object."""
    return {kind: getattr(thing, kind) for kind in KINDS}


def partial_words(thing: 'SceneObject') -> list[Description]:
    """Every description that fits an object, the shortest first."""
    words = full_words(thing)
    return [{kind: words[kind] for kind in kinds}
            for count in (1, 2, 3) for kinds in subsets(KINDS, count)]


def fitting(scene: 'Scene', words: Description) -> tuple[int, ...]:
    """Indices of the visible objects that a description fits."""
    return tuple(i for i, thing in enumerate(scene.objects) if thing.area and all(
        getattr(thing, kind) == word for kind, word in words.items()))


def holds(relation: str, thing: 'SceneObject', anchor: 'SceneObject',
          margin: float) -> bool:
    """Whether ``thing`` is, say, 'left of' ``anchor`` by more than a margin in pixels.
    """
    axis = 0 if relation in ('left of', 'right of') else 1
    difference = anchor.center_xy[axis] - thing.center_xy[axis]
    return (difference if relation in ('left of', 'above') else -difference) > margin


def stands_out(scene: 'Scene', word: str, target: int, part: Description) -> bool:
    """Whether the target is the ``word`` of at least two objects, by a clear lead."""
    group = fitting(scene, part)
    if len(group) < 2 or target not in group:
        return False
    thing = scene.objects[target]
    rivals = [scene.objects[i] for i in group if i != target]
    if word in ('largest', 'smallest'):
        if word == 'largest':
            return all(thing.area > PLAIN_RATIO * rival.area for rival in rivals)
        return all(rival.area > PLAIN_RATIO * thing.area for rival in rivals)
    relation = _FARTHEST[word]
    margin = scene.size * PLAIN_SHARE
    return all(holds(relation, thing, rival, margin) for rival in rivals)
