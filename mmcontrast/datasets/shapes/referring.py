"""Write referring expressions for one, several and no object of a scene."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

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
from .vocabulary import ATTRIBUTES, allowed_combinations

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


@dataclass(frozen=True)
class _Expression:
    """What a text says, in parts: 'the' 'striped circle' 'left of' 'red star'."""

    start: str
    words: Description
    relation: str = ''
    anchor: Description = field(default_factory=dict)

    @property
    def text(self) -> str:
        text = f'{self.start} {phrase(self.words, plural=self.start == "all")}'
        if self.relation:
            text += f' {self.relation} the {phrase(self.anchor)}'
        return text


Objects = Sequence[SceneObject]


def referring(plan: ScenePlan, objects: Objects, size: int) -> tuple[Referring, ...]:
    """Expressions for one object, for several, and for none that is there.

    Every object is named by words or by position where that is possible. With two
    objects or more at least one expression has several targets; up to two have none.
    These take the forms of the others, with other words, so that the form of a phrase
    does not tell whether anything is meant. They keep to the color-shape combinations
    that the scene was drawn from: held-out ones never occur in the texts of seen
    scenes.

    Args:
        size: Side of the image in pixels.
    """
    rng = RandomStream(plan.seed, _TEXT_STREAM)
    margin = size * CLEAR_SHARE
    visible = [i for i, thing in enumerate(objects) if thing.area]
    found = [(_refer_to_one(rng, objects, i, margin), (i,), 'one') for i in visible]
    found += [(*_refer_to_many(rng, objects), 'many')]
    forms = [expression for expression, _, _ in found if expression]
    found += [(_refer_to_none(rng, objects, forms, plan.combinations, margin), (),
               'none') for _ in range(2)]
    distinct = {expression.text: Referring(expression.text, targets, kind)
                for expression, targets, kind in found if expression}
    return tuple(distinct.values())


def _refer_to_one(rng: RandomStream, objects: Objects, target: int, margin: float
                  ) -> _Expression | None:
    parts = partial_descriptions(objects[target])
    found = [_Expression('the', part) for part in parts
             if matching(objects, part) == (target,)]
    found += [_Expression(f'the {word}', part) for part in ({}, *parts[:3])
              for word in SUPERLATIVES
              if is_superlative(word, target, objects, part, margin)]
    found += _by_relation(objects, target, [{}, *parts], margin)
    return rng.choice(found) if found else None


def _by_relation(objects: Objects, target: int, parts: Sequence[Description],
                 margin: float) -> list[_Expression]:
    """'the red shape left of the star': unique only through its neighbor."""
    found = []
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
                    found.append(_Expression('the', part, relation, words))
                    break
    return found


def _refer_to_many(rng: RandomStream, objects: Objects
                   ) -> tuple[_Expression | None, tuple[int, ...]]:
    parts = [{}, *(part for thing in objects for part in partial_descriptions(thing))]
    expressions = [_Expression('all', part) for part in parts]
    groups = {expression.text: (expression, matching(objects, expression.words))
              for expression in expressions}
    found = [(expression, group) for expression, group in groups.values()
             if len(group) > 1]
    # 'all shapes' is the easiest, so it is left for scenes without another group.
    return rng.choice(found[1:] or found) if found else (None, ())


def _refer_to_none(rng: RandomStream, objects: Objects, forms: Sequence[_Expression],
                   combinations: str, margin: float) -> _Expression | None:
    """The form of another expression, with other words for one of its parts."""
    forms = list(forms)
    while forms:
        form = forms.pop(int(rng.random() * len(forms)))
        changed = [several for several in _contradicted(
            rng, objects, form, combinations, margin) if several]
        if changed:
            return rng.choice(rng.choice(changed))
    return None


def _contradicted(rng: RandomStream, objects: Objects, form: _Expression,
                  combinations: str, margin: float) -> Iterator[list[_Expression]]:
    """Expressions of one form that mean nothing, by the part that is to blame."""
    yield [replace(form, words=words)
           for words in _absent(rng, objects, form.words, combinations)]
    if not form.relation:
        return
    yield [replace(form, anchor=words)
           for words in _absent(rng, objects, form.anchor, combinations)]
    things, (anchor,) = (
        [objects[i] for i in matching(objects, words)]
        for words in (form.words, form.anchor))
    # Not even nearly true.
    yield [replace(form, relation=relation) for relation in RELATIONS if not any(
        holds(relation, thing, anchor, -margin) for thing in things
        if thing is not anchor)]


def _absent(rng: RandomStream, objects: Objects, like: Description, combinations: str
            ) -> list[Description]:
    """Words of the same kinds that no object has together.

    They occur in the image, or nearly: of each kind one more word is allowed, or all
    where these are too few.
    """
    allowed = allowed_combinations(combinations)
    near = {kind: {rng.choice(ATTRIBUTES[kind]),
                   *(getattr(thing, kind) for thing in objects if thing.area)}
            for kind in like}
    for options in (near, ATTRIBUTES):
        found = [dict(zip(like, words, strict=True)) for words in product(*(
            sorted(options[kind]) for kind in like))]
        found = [words for words in found if not matching(objects, words) and (
            not {'color', 'shape'} <= set(words)
            or (words['color'], words['shape']) in allowed)]
        if found:
            return found
    return []
