"""Write referring expressions for one, several and no object of a scene."""
from collections.abc import Sequence
from dataclasses import dataclass

from .objects import (
    CLEAR_SHARE,
    RELATIONS,
    SUPERLATIVES,
    Description,
    SceneObject,
    holds,
    is_superlative,
    matching,
    partial_descriptions,
    phrase,
)
from .plan import RandomStream, ScenePlan
from .vocabulary import COLORS, SHAPES, TEXTURES, allowed_combinations

_TEXT_STREAM = 2  # Second word of the seed: texts do not change what is drawn.


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


Objects = Sequence[SceneObject]


def referring(plan: ScenePlan, objects: Objects, size: int) -> tuple[Referring, ...]:
    """Expressions for one object, for several, and for none that is there.

    Every object is named by words or by position where that is possible. With two
    objects or more at least one expression has several targets; one or two have none,
    and keep to the color-shape combinations that the scene was drawn from, so that
    held-out combinations never occur in the texts of seen scenes.

    Args:
        size: Side of the image in pixels.
    """
    rng = RandomStream(plan.seed, _TEXT_STREAM)
    margin = size * CLEAR_SHARE
    found = [_refer_to_one(rng, objects, i, margin) for i, thing in enumerate(objects)
             if thing.area]
    found += [_refer_to_many(rng, objects)]
    found += [_refer_to_none(rng, objects, plan.combinations) for _ in range(2)]
    distinct = {expression.text: expression for expression in found if expression}
    return tuple(distinct.values())


def _refer_to_one(rng: RandomStream, objects: Objects, target: int, margin: float
                  ) -> Referring | None:
    parts = partial_descriptions(objects[target])
    texts = [f'the {phrase(part)}' for part in parts
             if matching(objects, part) == (target,)]
    texts += [f'the {word} {phrase(part)}' for part in ({}, *parts[:3])
              for word in SUPERLATIVES
              if is_superlative(word, target, objects, part, margin)]
    texts += _by_relation(objects, target, [{}, *parts], margin)
    return Referring(rng.choice(texts), (target,), 'one') if texts else None


def _by_relation(objects: Objects, target: int, parts: Sequence[Description],
                 margin: float) -> list[str]:
    """'the red shape left of the star': unique only through its neighbor."""
    texts = []
    for i, anchor in enumerate(objects):
        if i == target or not anchor.area:
            continue
        words = next((part for part in partial_descriptions(anchor)
                      if matching(objects, part) == (i,)), None)
        if words is None:
            continue
        for relation in RELATIONS:
            for part in parts:
                others = [objects[k] for k in matching(objects, part) if k != target]
                # Clearly true of the target, and not even nearly of the others.
                if others and holds(
                        relation, objects[target], anchor, margin) and not any(
                        holds(relation, other, anchor, 0) for other in others):
                    texts.append(f'the {phrase(part)} {relation} the {phrase(words)}')
                    break
    return texts


def _refer_to_many(rng: RandomStream, objects: Objects) -> Referring | None:
    groups = {'all shapes': matching(objects, {})}
    for thing in objects:
        for part in partial_descriptions(thing):
            groups[f'all {phrase(part, plural=True)}'] = matching(objects, part)
    groups = {text: group for text, group in groups.items() if len(group) > 1}
    if not groups:
        return None
    # 'all shapes' is the easiest, so it is left for scenes without another group.
    text = rng.choice(list(groups)[1:] or list(groups))
    return Referring(text, groups[text], 'many')


def _refer_to_none(rng: RandomStream, objects: Objects, combinations: str
                   ) -> Referring | None:
    """Words that occur in the image, or nearly, but never on one object together."""
    colors = _present(objects, 'color') + [rng.choice(tuple(COLORS))]
    shapes = _present(objects, 'shape') + [rng.choice(SHAPES)]
    textures = _present(objects, 'texture') + [rng.choice(TEXTURES)]
    parts = [{'color': color, 'shape': shape}
             for color, shape in allowed_combinations(combinations)
             if color in colors and shape in shapes]
    parts += [{'texture': texture, kind: word} for texture in textures
              for kind, options in (('color', colors), ('shape', shapes))
              for word in options]
    parts = [part for part in parts if not matching(objects, part)]
    if not parts:
        return None
    return Referring(f'the {phrase(rng.choice(parts))}', (), 'none')


def _present(objects: Objects, kind: str) -> list[str]:
    return list(dict.fromkeys(
        getattr(thing, kind) for thing in objects if thing.area))
