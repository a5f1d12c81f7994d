"""Provide phrases of the toy world and the objects that they mean, drawn on the fly."""
import random
from collections.abc import Callable, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from ...errors import UserValueError
from ...registry import DATASETS, TRANSFORMS
from .dataset import ShapesDataset
from .scene import Scene
from .vocabulary import ATTRIBUTES

KINDS = ('one', 'many', 'none')
SENTENCES = ('each', 'random')


@DATASETS.register_module()
class ShapesGrounding(ShapesDataset):
    """Phrases for one object, for several and for none, without any file.

    Before the pipeline an item holds what ``GroundingDataset`` gives: ``text``,
    ``img_path`` ('shapes://train/17'), ``img_id``, ``sentence_id``, ``height``,
    ``width`` and ``objects``, all visible objects of the scene as dicts of ``id``,
    ``bbox`` (xywh in pixels), ``area``, ``segmentation`` (RLE), ``attributes``
    (texture, color and shape, indices into :data:`ATTRIBUTES`) and ``referred``. The
    image is there as well: ``img`` (S, S, 3) uint8 BGR, ``ori_shape`` and
    ``img_shape``.

    Every scene is drawn once at the start, for its phrases, which takes a few
    milliseconds each.

    Args:
        num_images: Number of scenes.
        split: 'train', 'val' or 'test'; they never share a scene.
        sentences: 'each' makes every phrase an item. 'random' makes every scene an item
            and draws one of its phrases at each visit.
        kinds: Which phrases: for 'one' object, for 'many', for 'none' that is there. A
            scene has one of the first kind for almost every object, at most one of the
            second and at most two of the third.
        size, combinations, num_objects, cache, pipeline: As for :class:`ShapesDataset`.
        kwargs: Passed to mmengine's ``BaseDataset``.

    Raises:
        UserValueError, ValueError: If an argument is out of range, or no scene has a
            phrase of these kinds.
    """

    def __init__(self, num_images: int, split: str = 'train', sentences: str = 'each',
                 kinds: Sequence[str] = KINDS, size: int = 128,
                 combinations: str = 'all', num_objects: tuple[int, int] = (2, 6),
                 cache: bool = False, pipeline: Sequence[dict | Callable] = (),
                 **kwargs) -> None:
        if sentences not in SENTENCES:
            raise UserValueError(
                f'sentences must be one of {SENTENCES}, got {sentences!r}.')
        if isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS):
            raise UserValueError(
                f'kinds must list one or more of {KINDS}, got {kinds!r}.')
        self.sentences, self.kinds = sentences, tuple(kinds)
        # Built here: mmengine would use the default scope.
        pipeline = [TRANSFORMS.build(step) if isinstance(step, dict) else step
                    for step in pipeline]
        super().__init__(num_images, split, size, combinations, num_objects,
                         cache=cache, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        found, number = [], 0
        for info in super().load_data_list():
            scene = self._draw(info['scene_idx'])
            if self.cache:
                self._drawn[info['scene_idx']] = _annotated(scene)
            phrases = [expression for expression in scene.referring
                       if expression.kind in self.kinds]
            entry = dict(info, img_id=info['scene_idx'], height=scene.size,
                         width=scene.size)
            numbered = list(enumerate(phrases, number))
            number += len(phrases)
            if self.sentences == 'each':
                found += [dict(entry, phrases=[phrase]) for phrase in numbered]
            elif phrases:
                found.append(dict(entry, phrases=numbered))
        if not found:
            raise UserValueError(
                f'None of the {self.num_images} scenes has a phrase of the kinds '
                f'{self.kinds}: set a larger num_images, or more kinds.')
        return found

    def image_ids(self) -> list[int]:
        """The scene of each item."""
        return [self.get_data_info(i)['img_id'] for i in range(len(self))]

    def prepare_data(self, idx: int) -> dict | None:
        info = self.get_data_info(idx)
        number, expression = random.choice(info.pop('phrases'))
        drawn = self._read(info.pop('scene_idx'))
        drawn['objects'] = [dict(thing, referred=i in expression.targets)
                            for i, thing in enumerate(drawn['objects'])]
        return self.pipeline(
            {**info, **drawn, 'text': expression.text, 'sentence_id': number})

    def _item(self, scene_idx: int) -> dict:
        return _annotated(self._draw(scene_idx))


def _annotated(scene: Scene) -> dict:
    codes = coco_mask.encode(
        np.asfortranarray(scene.masks.transpose(1, 2, 0), dtype=np.uint8))
    objects = []
    for i, (thing, code) in enumerate(zip(scene.objects, codes, strict=True)):
        left, top, right, bottom = thing.box_xyxy
        objects.append(dict(
            id=i + 1, bbox=[left, top, right - left, bottom - top], area=thing.area,
            segmentation=code, attributes=[
                words.index(getattr(thing, kind)) for kind, words in ATTRIBUTES.items()
            ]))
    shape = scene.image.shape[:2]
    return dict(img=np.ascontiguousarray(scene.image[..., ::-1]), ori_shape=shape,
                img_shape=shape, objects=objects)
