"""Ask multiple-choice questions about the objects and scenes of the toy world."""
from typing import NamedTuple

from ...registry import DATASETS
from .dataset import ShapesDataset
from .objects import SceneObject, with_article
from .regions import Region, object_texts
from .vocabulary import COLORS, COMBINATIONS, HELD_OUT_COMBINATIONS, SHAPES

MIN_SHARE, MIN_SIDE = 0.6, 0.08
"""Least visible share of an object, and least side as a share of the image side."""

COLOR_TEXTS = tuple(f'{with_article(color)} shape' for color in COLORS)
SHAPE_TEXTS = tuple(with_article(shape) for shape in SHAPES)
PAIR_TEXTS = tuple(
    with_article(f'{color} {shape}') for color, shape in COMBINATIONS['all'])


class Question(NamedTuple):
    """A multiple-choice question: which text describes the image?

    Attributes:
        choices: Texts, exactly one of which is right.
        answer: Index of the right one.
    """

    choices: tuple[str, ...]
    answer: int


@DATASETS.register_module()
class ShapesQuestions(ShapesDataset):
    """Objects and scenes of the toy world, with questions about them.

    An item is a scene's ``img`` with one region in ``regions`` and ``questions``, name
    to :class:`Question`. Clearly visible objects are asked for their color and shape
    (8 choices each) and for the pair (64), under names that start with ``seen/`` or
    ``held_out/``, as the pair is in ``HELD_OUT_COMBINATIONS`` or not. Whole scenes are
    asked which of several captions is right, ``scene/caption``; the wrong ones are
    those of the next scenes.

    Args:
        num_captions: Choices for a scene; 0 leaves whole scenes out.
        num_images, split, kwargs: As for :class:`ShapesDataset`.
    """

    def __init__(self, num_images: int, split: str = 'val', num_captions: int = 16,
                 **kwargs) -> None:
        if num_captions == 1 or not 0 <= num_captions <= num_images:
            raise ValueError(
                f'num_captions must be 0, or from 2 to num_images={num_images}, got '
                f'{num_captions}.')
        self.num_captions = num_captions
        super().__init__(num_images, split, **kwargs)

    def load_data_list(self) -> list[dict]:
        infos = super().load_data_list()
        scenes = [self._draw(info['scene_idx']) for info in infos]
        things = [
            {**info, 'kind': 'object', 'questions': object_questions(thing),
             'region': Region(thing.box_xyxy, object_texts(thing))}
            for info, scene in zip(infos, scenes, strict=True)
            for thing in scene.objects if is_clearly_visible(thing, scene.size)]
        if not self.num_captions:
            return things
        captions = [scene.captions[0] for scene in scenes]
        whole = (0, 0, self.size, self.size)
        return things + [
            {**info, 'kind': 'scene', 'region': Region(whole, scene.captions),
             'questions': {'scene/caption': _caption_question(
                 captions, i, self.num_captions)}}
            for i, (info, scene) in enumerate(zip(infos, scenes, strict=True))]

    def prepare_data(self, idx: int) -> dict | None:
        info = self.get_data_info(idx)
        info['regions'] = {info.pop('kind'): [info.pop('region')]}
        return self.pipeline({**info, **self._read(info.pop('scene_idx'))})


def object_questions(thing: SceneObject) -> dict[str, Question]:
    """Questions for color, shape and pair of an object, named by the pair's group."""
    pair = (thing.color, thing.shape)
    group = 'held_out' if pair in HELD_OUT_COMBINATIONS else 'seen'
    return {
        f'{group}/color': Question(COLOR_TEXTS, list(COLORS).index(thing.color)),
        f'{group}/shape': Question(SHAPE_TEXTS, thing.label),
        f'{group}/pair': Question(PAIR_TEXTS, COMBINATIONS['all'].index(pair))}


def is_clearly_visible(thing: SceneObject, size: int) -> bool:
    """Whether enough of an object is visible, in an image of this size, to ask."""
    left, top, right, bottom = thing.box_xyxy
    return (thing.area >= MIN_SHARE * thing.amodal_area
            and min(right - left, bottom - top) >= MIN_SIDE * size)


def _caption_question(captions: list[str], index: int, num_choices: int) -> Question:
    """The caption of a scene among those of the scenes after it, in a ring."""
    choices = tuple(captions[(index + k) % len(captions)] for k in range(num_choices))
    return Question(choices, 0)
