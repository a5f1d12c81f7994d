"""Referring expressions for one, many and no object, true of their scene."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .plan import Dice
from .vocabulary import COLORS, SHAPES, TEXTURES, allowed_combinations
from .words import (
    PLAIN_SHARE,
    RELATIONS,
    SUPERLATIVES,
    Description,
    fitting,
    holds,
    partial_words,
    phrase,
    stands_out,
)

if TYPE_CHECKING:
    from .scene import Scene, SceneObject

_TEXT_STREAM = 2  # Second word of the seed, so that texts do not disturb the drawing.


@dataclass(frozen=True)
class Referring:
    """An expression and the objects that it means.

    Attributes:
        text: For example 'the striped circle left of the red star'.
        targets: Indices into ``Scene.objects``, rising.
        kind: 'one', 'many' or 'none', the number of targets.
    """

    text: str
    targets: tuple[int, ...]
    kind: str


def referring(scene: 'Scene') -> tuple[Referring, ...]:
    """Expressions for one object, for several, and for none that is there.

    Every object is named by words or by place where that is possible. With two objects
    or more at least one expression has several targets; one or two have none, and
    keep to the color-shape combinations that the scene was drawn from, so that
    held-out combinations never occur in the texts of seen scenes.
    """
    dice = Dice(scene.seed, _TEXT_STREAM)
    found = [_name_one(dice, scene, i) for i, thing in enumerate(scene.objects)
             if thing.area]
    found += [_name_many(dice, scene)]
    found += [_name_none(dice, scene) for _ in range(2)]
    distinct = {expression.text: expression for expression in found if expression}
    return tuple(distinct.values())


def _name_one(dice: Dice, scene: 'Scene', target: int) -> Referring | None:
    parts = partial_words(scene.objects[target])
    texts = [f'the {phrase(part)}' for part in parts
             if fitting(scene, part) == (target,)]
    texts += [f'the {word} {phrase(part)}' for part in ({}, *parts[:3])
              for word in SUPERLATIVES if stands_out(scene, word, target, part)]
    texts += _by_relation(scene, target, [{}, *parts])
    return Referring(dice.choice(texts), (target,), 'one') if texts else None


def _by_relation(scene: 'Scene', target: int, parts: Sequence[Description]
                 ) -> list[str]:
    """'the red shape left of the star': unique only through its neighbor."""
    texts = []
    for anchor, thing in enumerate(scene.objects):
        if anchor == target or not thing.area:
            continue
        words = next((part for part in partial_words(thing)
                      if fitting(scene, part) == (anchor,)), None)
        if words is None:
            continue
        for relation in RELATIONS:
            for part in parts:
                rivals = [i for i in fitting(scene, part) if i != target]
                if rivals and _only_one_holds(scene, relation, target, rivals, thing):
                    texts.append(f'the {phrase(part)} {relation} the {phrase(words)}')
                    break
    return texts


def _only_one_holds(scene: 'Scene', relation: str, target: int,
                    rivals: Sequence[int], anchor: 'SceneObject') -> bool:
    """Whether the relation plainly holds for the target, and for no rival at all."""
    margin = scene.size * PLAIN_SHARE
    return holds(relation, scene.objects[target], anchor, margin) and not any(
        holds(relation, scene.objects[i], anchor, 0) for i in rivals)


def _name_many(dice: Dice, scene: 'Scene') -> Referring | None:
    groups = {'all shapes': fitting(scene, {})}
    for thing in scene.objects:
        for part in partial_words(thing):
            groups[f'all {phrase(part, plural=True)}'] = fitting(scene, part)
    groups = {text: group for text, group in groups.items() if len(group) > 1}
    if not groups:
        return None
    # 'all shapes' is the easiest, so it is left for scenes without another group.
    text = dice.choice(list(groups)[1:] or list(groups))
    return Referring(text, groups[text], 'many')


def _name_none(dice: Dice, scene: 'Scene') -> Referring | None:
    """Words that are in the picture, or nearly, but never on one object together."""
    colors = _present(scene, 'color') + [dice.choice(tuple(COLORS))]
    shapes = _present(scene, 'shape') + [dice.choice(SHAPES)]
    textures = _present(scene, 'texture') + [dice.choice(TEXTURES)]
    parts = [{'color': color, 'shape': shape}
             for color, shape in allowed_combinations(scene.plan.combinations)
             if color in colors and shape in shapes]
    parts += [{'texture': texture, kind: word} for texture in textures
              for kind, options in (('color', colors), ('shape', shapes))
              for word in options]
    parts = [part for part in parts if not fitting(scene, part)]
    if not parts:
        return None
    return Referring(f'the {phrase(dice.choice(parts))}', (), 'none')


def _present(scene: 'Scene', kind: str) -> list[str]:
    return list(dict.fromkeys(
        getattr(thing, kind) for thing in scene.objects if thing.area))
