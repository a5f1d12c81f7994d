"""Hold what is known and what is predicted about one background and one object."""
from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor
from torchvision.ops import box_convert

from ...errors import UserKeyError, UserValueError

BOX_FIELDS = ('positives', 'negatives', 'boxes_xywh')


class PlacementSample(BaseDataElement):
    """A background, an object, and boxes of the object in the background.

    Boxes are (x, y, w, h) with the top left corner, in pixels of the background as it
    was given, not as the network sees it. Whatever is assigned to a field of boxes is
    stored as an (N, 4) float64 tensor::

        sample = PlacementSample(
            metainfo=dict(background_wh=(640, 480), object_wh=(120, 80)),
            positives=[[40, 200, 120, 80]], negatives=[])

    Metainfo:
        background_wh: Width and height of the background as given.
        object_wh: Width and height of the tight crop of the object.
        background_path, object_path: Files.
        mask_path: File of the object's mask; None if it has an alpha channel.
        background_id, object_id: Names in the annotation.
        object_size_wh: Of pair files: width and height of the object in pixels of the
            background.
        seed, scene_options: Of a scene of the toy world, which
            ``draw_placement(seed, **scene_options)`` draws again.
        sample_idx: Index in the dataset.

    Data:
        positives: (P, 4) boxes where the object is plausible.
        negatives: (N, 4) boxes where it is not.
        boxes_xywh: (K, 4) predicted boxes, the best first.
        scores: (K,) their scores in [0, 1].
        cells: (K, 3) int64, their scale bin, row and column.
        heat: (S, H, W) plausibility of every cell, if it was asked for.
        positive_scores, negative_scores: (P,) and (N,), the predicted scores of the
            labeled boxes.
        positive_counted, negative_counted: (P,) and (N,) bool, of a model that scores
            pixels: False for a label that a later one on the same pixel overwrites.
    """

    def set_field(self, value, name: str, dtype=None, field_type: str = 'data') -> None:
        """Store a field; what holds boxes becomes an (N, 4) float64 tensor.

        Raises:
            ValueError: If boxes do not have four numbers each.
        """
        if name in BOX_FIELDS:
            value = boxes_tensor(value, name)
        super().set_field(value, name, dtype, field_type)


def boxes_tensor(boxes, name: str = 'boxes_xywh') -> Tensor:
    """A list, array or tensor of boxes as an (N, 4) float64 tensor; [] has none.

    Raises:
        UserValueError: If boxes do not have four numbers each.
    """
    try:
        tensor = torch.as_tensor(boxes, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        # Ragged lists, or what is no number.
        raise UserValueError(
            f'{name} must be (N, 4) boxes (x, y, width, height), got '
            f'{str(boxes)[:80]}.') from None
    if tensor.numel() == 0:
        return tensor.reshape(0, 4)
    if tensor.ndim != 2 or tensor.shape[1] != 4:
        raise UserValueError(
            f'{name} must be (N, 4) boxes (x, y, width, height), got shape '
            f'{tuple(tensor.shape)}.')
    return tensor


def check_metainfo(samples: Sequence[PlacementSample], *names: str) -> None:
    """Check that samples have what their boxes are computed from.

    Raises:
        UserKeyError: If one lacks a name.
    """
    for sample in samples:
        for name in names:
            if name not in sample.metainfo:
                raise UserKeyError(
                    f'Boxes are computed from {name}, but {sample_name(sample)} has '
                    f'only {sorted(sample.metainfo_keys())}.')


def boxes_of_corners(boxes_xyxy: Sequence[Sequence[float]]) -> Tensor:
    """Boxes (left, top, right, bottom) as an (N, 4) float64 tensor (x, y, w, h)."""
    return box_convert(boxes_tensor(boxes_xyxy, 'boxes_xyxy'), 'xyxy', 'xywh')


def sample_name(sample: Mapping | PlacementSample) -> str:
    """Name a sample in a message by its files, ids or seed."""
    parts = []
    for kind in ('background', 'object'):
        name = sample.get(f'{kind}_path') or sample.get(f'{kind}_id')
        parts += [f'{kind} {name}'] if name else []
    if not parts and sample.get('seed') is not None:
        parts = [f'seed {sample.get("seed")}']
    return f'the sample of {" and ".join(parts)}' if parts else 'a data sample'
