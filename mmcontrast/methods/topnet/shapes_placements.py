"""Provide placement pairs of the toy world, drawn on the fly."""
from collections.abc import Callable, Sequence

from mmengine.dataset import BaseDataset

from ...datasets.shapes import Placement, draw_placement, scene_seed
from ...errors import UserValueError
from ...registry import DATASETS, TRANSFORMS
from .cutouts import CutOut
from .sample import boxes_of_corners

LABELS = ('true', 'positives', 'all')


@DATASETS.register_module()
class ShapesPlacements(BaseDataset):
    """Backgrounds of the toy world without one object, and where it could stand.

    Before the pipeline an item holds what :mod:`.transforms` describes; further
    ``seed`` and ``scene_options``, from which a metric draws the same pair again with
    ``draw_placement(seed, **scene_options)``, and ``background_path`` and
    ``object_path`` ('shapes://train/17'), which name it.

    Args:
        num_pairs: Number of pairs.
        split: 'train', 'val' or 'test'; they never share a scene.
        labels: What is known of a pair: the 'true' box alone, as in pairs made by
            inpainting; 'positives', all drawn plausible boxes; 'all', implausible boxes
            as negatives as well.
        size, combinations, num_objects, num_boxes: As for
            :func:`~mmcontrast.datasets.shapes.draw_placement`.
        cache: Keep drawn pairs in memory (about 60 kB each at 128 pixels). Each worker
            process keeps what it has drawn itself.
        pipeline: Transforms.
        kwargs: Passed to mmengine's ``BaseDataset``.

    Raises:
        UserValueError, ValueError: If an argument is out of range.
    """

    def __init__(self, num_pairs: int, split: str = 'train', labels: str = 'true',
                 size: int = 128, combinations: str = 'all',
                 num_objects: tuple[int, int] = (2, 6), num_boxes: int = 8,
                 cache: bool = False, pipeline: Sequence[dict | Callable] = (),
                 **kwargs) -> None:
        if num_pairs < 1:
            raise UserValueError(f'num_pairs must be 1 or more, got {num_pairs}.')
        if labels not in LABELS:
            raise UserValueError(f'labels must be one of {LABELS}, got {labels!r}.')
        self.num_pairs, self.split, self.labels = num_pairs, split, labels
        self.scene_options = dict(size=size, combinations=combinations,
                                  num_objects=tuple(num_objects), num_boxes=num_boxes)
        draw_placement(scene_seed(split, 0), **self.scene_options)  # checks them
        self._drawn: dict[int, dict] | None = {} if cache else None
        super().__init__(pipeline=[TRANSFORMS.build(step) if isinstance(step, dict)
                                   else step for step in pipeline], **kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(scene_idx=i) for i in range(self.num_pairs)]

    def prepare_data(self, idx: int) -> dict | None:
        info = self.get_data_info(idx)
        scene_idx = info.pop('scene_idx')
        if self._drawn is None:
            return self.pipeline({**info, **self._item(scene_idx)})
        if scene_idx not in self._drawn:
            self._drawn[scene_idx] = self._item(scene_idx)
        # Transforms return new arrays, so that the kept ones stay.
        return self.pipeline({**info, **self._drawn[scene_idx]})

    def placement(self, idx: int) -> Placement:
        """The pair behind item ``idx``, with the scene and the rule of plausibility."""
        return self._draw(self.get_data_info(idx)['scene_idx'])

    def _draw(self, scene_idx: int) -> Placement:
        return draw_placement(scene_seed(self.split, scene_idx), **self.scene_options)

    def _item(self, scene_idx: int) -> dict:
        placement, name = self._draw(scene_idx), f'shapes://{self.split}/{scene_idx}'
        # Not cropped again: the boxes are those of the cut-out as it was drawn.
        cutout = CutOut.from_rgba(placement.cutout, name, tight=False)
        positives, negatives = placement.positives, placement.negatives
        if self.labels != 'all':
            negatives = ()
        if self.labels == 'true':
            positives = positives[:1]
        return dict(
            background=placement.background.image, cutout=cutout,
            background_wh=(placement.scene.size,) * 2, object_wh=cutout.size_wh,
            positives=boxes_of_corners(positives).numpy(),
            negatives=boxes_of_corners(negatives).numpy(),
            background_path=name, object_path=name, background_id=str(scene_idx),
            object_id=str(scene_idx), seed=placement.scene.seed,
            scene_options=self.scene_options)
