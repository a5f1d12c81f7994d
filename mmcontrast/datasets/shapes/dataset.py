"""Provide the toy world as an mmengine dataset, drawn on the fly."""
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.dataset import BaseDataset

from ...registry import DATASETS
from .regions import regions
from .scene import Scene, check_size, draw_scene
from .vocabulary import (
    CLASSES,
    PALETTE,
    SHAPES,
    STUFF,
    allowed_combinations,
    scene_seed,
)


@DATASETS.register_module()
class ShapesDataset(BaseDataset):
    """Scenes of the toy world, without any file.

    Before the pipeline an item holds ``img`` (S, S, 3) uint8 RGB, ``img_path``
    ('shapes://train/17'), ``sample_idx``, ``ori_shape`` and ``img_shape``; with
    annotations also ``gt_seg_map`` (S, S) uint8, ``seg_fields``, ``gt_bboxes`` (N, 4)
    float32 pixels, ``gt_bboxes_labels`` (N,) int64 and ``gt_ignore_flags`` (N,) bool,
    under the names that the transforms of mmseg and mmdet read, and ``gt_masks``
    (N, S, S) bool; with regions ``regions``, see :func:`regions.regions`; with captions
    ``texts``, sentences about the whole image, see :func:`captions.captions`.

    Args:
        num_images: Number of scenes.
        split: 'train', 'val' or 'test'; they never share a scene.
        size: Side of the images in pixels.
        combinations: Which (color, shape) pairs occur: 'all', 'seen' or 'held_out'.
        num_objects: Fewest and most objects of a scene.
        with_annotations: Include the labels. Off by default: self-supervised training
            needs none.
        with_regions: Include the regions of the scene with their texts.
        cache: Keep drawn scenes in memory (50 kB each at 128 pixels; double that and
            more with annotations). Each worker process keeps what it has drawn itself.
        pipeline: Transforms.
        with_captions: Include the captions of the scene.
        kwargs: Passed to mmengine's ``BaseDataset``.

    Raises:
        ValueError: If an argument is out of range.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE, thing_classes=SHAPES,
                    stuff_classes=STUFF)

    def __init__(self, num_images: int, split: str = 'train', size: int = 128,
                 combinations: str = 'all', num_objects: tuple[int, int] = (2, 6),
                 with_annotations: bool = False, with_regions: bool = False,
                 cache: bool = False, pipeline: Sequence[dict | Callable] = (),
                 with_captions: bool = False, **kwargs) -> None:
        if num_images < 1:
            raise ValueError(f'num_images must be 1 or more, got {num_images}.')
        check_size(size)
        allowed_combinations(combinations)
        scene_seed(split, 0)
        self.num_images = num_images
        self.split = split
        self.size = size
        self.combinations = combinations
        self.num_objects = tuple(num_objects)
        self.with_annotations = with_annotations
        self.with_regions = with_regions
        self.with_captions = with_captions
        self.cache = cache
        self._drawn: dict[int, dict] = {}
        super().__init__(pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(scene_idx=i, img_path=f'shapes://{self.split}/{i}')
                for i in range(self.num_images)]

    def prepare_data(self, idx: int) -> dict | None:
        info = self.get_data_info(idx)
        return self.pipeline({**info, **self._read(info.pop('scene_idx'))})

    def scene(self, idx: int) -> Scene:
        """The whole scene behind item ``idx``, texts included."""
        return self._draw(self.get_data_info(idx)['scene_idx'])

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the shapes of item ``idx``."""
        return self.scene(idx).labels.tolist()

    def _read(self, scene_idx: int) -> dict:
        """What was drawn, as copies that a pipeline may write to."""
        if not self.cache:
            return self._item(scene_idx)
        if scene_idx not in self._drawn:
            self._drawn[scene_idx] = self._item(scene_idx)
        return {key: value.copy() if isinstance(value, np.ndarray | list) else value
                for key, value in self._drawn[scene_idx].items()}

    def _draw(self, scene_idx: int) -> Scene:
        return draw_scene(
            scene_seed(self.split, scene_idx), self.size,
            combinations=self.combinations, num_objects=self.num_objects)

    def _item(self, scene_idx: int) -> dict:
        scene = self._draw(scene_idx)
        shape = scene.image.shape[:2]
        item = dict(img=scene.image, ori_shape=shape, img_shape=shape)
        if self.with_annotations:
            item.update(
                gt_seg_map=scene.semantic_map, seg_fields=['gt_seg_map'],
                gt_bboxes=scene.boxes_xyxy, gt_bboxes_labels=scene.labels,
                gt_ignore_flags=np.zeros(len(scene.labels), bool), gt_masks=scene.masks)
        if self.with_regions:
            item['regions'] = regions(scene)
        if self.with_captions:
            item['texts'] = scene.captions
        return item
