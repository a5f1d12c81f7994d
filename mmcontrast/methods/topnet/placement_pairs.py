"""Provide backgrounds, cut-outs and boxes that a pair file lists."""
import json
import math
import os

from ...errors import UserValueError
from ...registry import DATASETS
from .placement_dataset import PlacementDataset

_REQUIRED = ('background', 'object', 'positives')


@DATASETS.register_module()
class PlacementPairs(PlacementDataset):
    """Pairs of a JSON file, as tools/data/make_placement_pairs.py writes it.

    The file is an object with the list ``pairs``. An entry has ``background`` and
    ``object``, paths of images below ``data_root`` (default: the folder of the file),
    and ``positives``, boxes [x, y, width, height] in pixels of the background. The
    object has an alpha channel, or an entry ``mask``. Optional: ``negatives``, boxes;
    ``inpainted``, true if the object was removed from this background, which
    ``PrepareTopNet`` then blurs; ``background_id`` and ``object_id``.

    Args:
        ann_file, kwargs: See :class:`~.placement_dataset.PlacementDataset`.
    """

    def __init__(self, ann_file: str, data_root: str = '', **kwargs) -> None:
        if not data_root:
            data_root, ann_file = os.path.split(os.path.expanduser(ann_file))
        super().__init__(ann_file, data_root, **kwargs)

    def read_items(self) -> list[dict]:
        with open(self.ann_file, 'rb') as file:
            try:
                content = json.load(file)
            except (ValueError, RecursionError) as error:
                raise UserValueError(
                    f'{self.ann_file} is not a JSON file: {error}') from error
        pairs = content.get('pairs') if isinstance(content, dict) else None
        if not isinstance(pairs, list):
            raise UserValueError(
                f"{self.ann_file} has no list 'pairs'. Write it with "
                'tools/data/make_placement_pairs.py; files of OPA are read by OPAPairs '
                'and OPAComposites.')
        return [self._item(pair, f'{self.ann_file}: pairs[{k}]')
                for k, pair in enumerate(pairs)]

    def _item(self, pair: dict, place: str) -> dict:
        missing = [key for key in _REQUIRED
                   if not isinstance(pair, dict) or key not in pair]
        if missing:
            raise UserValueError(
                f'{place} must be an object with {", ".join(_REQUIRED)}; it has no '
                f'{missing[0]!r}: {pair!r}.')
        for key in ('background', 'object', 'mask'):
            name = pair.get(key)
            if not (isinstance(name, str) and name or key == 'mask' and name is None):
                raise UserValueError(
                    f'{place}: {key!r} must be the path of an image, got {name!r}.')
        paths = {f'{key}_path': os.path.join(self.data_root, pair[key])
                 for key in ('background', 'object')}
        mask = pair.get('mask')
        paths['mask_path'] = mask and os.path.join(self.data_root, mask)
        boxes = {key: checked_boxes(pair.get(key, []), f'{place}: {key}')
                 for key in ('positives', 'negatives')}
        return dict(paths, **boxes, inpainted=bool(pair.get('inpainted', False)),
                    background_id=str(pair.get('background_id', pair['background'])),
                    object_id=str(pair.get('object_id', pair['object'])))


def checked_boxes(boxes: list, place: str) -> list[list[float]]:
    """Boxes of a file, after a check of each.

    Raises:
        UserValueError: If one is not four finite numbers with a positive size.
    """
    if not isinstance(boxes, list):
        raise UserValueError(f'{place} must be a list of boxes, got {boxes!r}.')
    for k, box in enumerate(boxes):
        if not (is_numbers(box, 4) and min(box[2:]) > 0):
            raise UserValueError(
                f'{place}[{k}] must be [x, y, width, height] in pixels, width and '
                f'height above 0, got {str(box)[:80]}.')
    return boxes


def is_numbers(value: object, length: int) -> bool:
    """Whether something read from a file is a list of so many finite numbers."""
    try:
        return (isinstance(value, list) and len(value) == length
                and all(isinstance(x, int | float) and math.isfinite(x) for x in value))
    except OverflowError:
        return False  # an integer beyond all floats
