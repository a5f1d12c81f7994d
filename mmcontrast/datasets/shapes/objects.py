"""Describe the objects of a scene, and find those that a description matches.

A description is a set of words, at most one of each kind (texture, color, shape); it
matches an object that has all of them. Positions are compared by the centers of the
visible boxes, and only where the difference is clearly visible.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations as subsets

Description = dict[str, str]

KINDS = ('texture', 'color', 'shape')
RELATIONS = ('left of', 'right of', 'above', 'below')
CLEAR_SHARE = 0.08
"""Share of the image side: a smaller difference in position does not count."""
CLEAR_RATIO = 1.3
"""Ratio of visible areas: a smaller difference in size does not count."""
_FARTHEST = {'leftmost': 'left of', 'rightmost': 'right of', 'topmost': 'above'}
SUPERLATIVES = (*_FARTHEST, 'largest', 'smallest')


@dataclass(frozen=True)
class SceneObject:
    """One object as the image shows it.

    Attributes:
        shape, color, texture: Their names.
        label: Index of its shape in ``CLASSES``.
        box_xyxy: Box around its visible pixels, in pixels, end exclusive; zeros if no
            pixel is visible, which happens in clips only.
        area: Number of visible pixels.
        amodal_area: Number of pixels without occlusion.
    """

    shape: str
    color: str
    texture: str
    label: int
    box_xyxy: tuple[int, int, int, int]
    area: int
    amodal_area: int

    @property
    def center_xy(self) -> tuple[float, float]:
        """Center of the visible box, in pixels."""
        left, top, right, bottom = self.box_xyxy
        return (left + right) / 2, (top + bottom) / 2


def phrase(words: Description, plural: bool = False) -> str:
    """'striped red circle', or 'striped red shape' for words without a shape."""
    noun = words.get('shape', 'shape')
    if plural:
        noun += 'es' if noun == 'cross' else 's'
    adjectives = [words[kind] for kind in KINDS[:2] if kind in words]
    return ' '.join([*adjectives, noun])


def with_article(text: str) -> str:
    """'a circle', 'an orange shape'."""
    return f'{"an" if text[0] in "aeiou" else "a"} {text}'


def full_description(thing: SceneObject) -> Description:
    """All three words for an object."""
    return {kind: getattr(thing, kind) for kind in KINDS}


def partial_descriptions(thing: SceneObject) -> list[Description]:
    """Every description that matches an object, the shortest first."""
    words = full_description(thing)
    return [{kind: words[kind] for kind in kinds}
            for count in (1, 2, 3) for kinds in subsets(KINDS, count)]


def matching(objects: Sequence[SceneObject], words: Description) -> tuple[int, ...]:
    """Indices of the visible objects that a description matches."""
    return tuple(i for i, thing in enumerate(objects) if thing.area and all(
        getattr(thing, kind) == word for kind, word in words.items()))


def holds(relation: str, thing: SceneObject, anchor: SceneObject,
          margin: float) -> bool:
    """Whether ``thing`` is, say, 'left of' ``anchor`` by more than a margin in pixels.
    """
    axis = 0 if relation in ('left of', 'right of') else 1
    difference = anchor.center_xy[axis] - thing.center_xy[axis]
    return (difference if relation in ('left of', 'above') else -difference) > margin


def is_superlative(word: str, target: int, objects: Sequence[SceneObject],
                   words: Description, margin: float) -> bool:
    """Whether an object is clearly, say, the 'leftmost' of those that match.

    Args:
        word: One of :data:`SUPERLATIVES`.
        target: Index of the object.
        words: Description that at least two objects must match, the target among them.
        margin: Pixels by which positions must differ.
    """
    group = matching(objects, words)
    if len(group) < 2 or target not in group:
        return False
    thing = objects[target]
    others = [objects[i] for i in group if i != target]
    if word == 'largest':
        return all(thing.area > CLEAR_RATIO * other.area for other in others)
    if word == 'smallest':
        return all(other.area > CLEAR_RATIO * thing.area for other in others)
    return all(holds(_FARTHEST[word], thing, other, margin) for other in others)
