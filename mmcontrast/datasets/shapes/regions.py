"""List the regions of a scene with all texts that describe them."""
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from .objects import SceneObject, partial_descriptions, phrase, with_article
from .plan import RandomStream
from .scene import Scene
from .vocabulary import GROUND_LABEL, SKY_LABEL

KINDS = ('object', 'stuff', 'scene')
_REGION_STREAM = 3  # Word of the seed: regions do not change what is drawn or said.
_STUFF_SIDES = (0.25, 0.4)
"""Sides of the squares of only sky or ground, as shares of the image side."""


class Region(NamedTuple):
    """A region of an image.

    Attributes:
        box_xyxy: Pixels, end exclusive.
        texts: All of them describe the region.
    """

    box_xyxy: tuple[int, int, int, int]
    texts: tuple[str, ...]


def regions(scene: Scene) -> dict[str, list[Region]]:
    """The regions of a scene that have a text.

    Returns:
        ``object``: one for each visible object. ``stuff``: squares of only sky and of
        only ground, where there is room for them. ``scene``: the whole image with its
        captions.
    """
    whole = (0, 0, scene.size, scene.size)
    return dict(
        object=[Region(thing.box_xyxy, object_texts(thing))
                for thing in scene.objects if thing.area],
        stuff=_stuff_regions(scene), scene=[Region(whole, scene.captions)])


def object_texts(thing: SceneObject) -> tuple[str, ...]:
    """'a striped red star', 'the red star', 'star', 'a red shape', ...: 15 wordings.

    Four of five name the shape, the hardest to see; texture never stands alone.
    """
    return tuple(text for words in partial_descriptions(thing)
                 if 'shape' in words or list(words) == ['color']
                 for text in _wordings(phrase(words)))


@cache  # the same few hundred tuples in every scene
def _wordings(text: str) -> tuple[str, ...]:
    return with_article(text), f'the {text}', text


def _stuff_regions(scene: Scene) -> list[Region]:
    """Up to one square for each side, of sky and of ground."""
    rng = RandomStream(scene.seed, _REGION_STREAM)
    found = []
    for name, label in (('sky', SKY_LABEL), ('ground', GROUND_LABEL)):
        plan = getattr(scene.plan, name)
        texts = tuple(
            text for words in (f'{plan.texture} {plan.color} {name}',
                               f'{plan.color} {name}', f'{plan.texture} {name}', name)
            for text in _wordings(words))
        mask = (scene.semantic_map == label).view(np.uint8)
        for share in _STUFF_SIDES:
            side = round(share * scene.size)
            corner = _pure_square(mask, side, rng)
            if corner is not None:
                left, top = corner
                found.append(Region((left, top, left + side, top + side), texts))
    return found


def _pure_square(mask: np.ndarray, side: int, rng: RandomStream
                 ) -> tuple[int, int] | None:
    """Left and top of a random square that lies within the mask."""
    # A pixel stays where the square that starts there has no hole.
    kernel = np.ones((side, side), np.uint8)
    starts = cv2.erode(mask, kernel, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT,
                       borderValue=0)
    corners = np.flatnonzero(starts)
    if not len(corners):
        return None
    top, left = divmod(int(rng.choice(corners)), mask.shape[1])
    return left, top
