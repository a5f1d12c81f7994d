"""Read the JSON files that PropVG's authors converted the benchmarks to.

``{split: [record, ...]}``; the kind of a record shows in its keys. Objects that no
phrase refers to are in a file of their own, see :mod:`.foreground`.
"""
import re
from collections.abc import Iterator, Mapping
from itertools import count
from math import inf

from ...errors import UserValueError
from .fields import box_field, field
from .records import Element, GroundingRecord, Phrase, Target

# Official files name an object in what should be the name of an image.
_WITH_OBJECT = re.compile(r'(COCO_\w+?_\d{12})_\d+(\.jpg)')


def read_converted(content: Mapping, path: str) -> dict[str, list[Element]]:
    """Splits of a converted file.

    A record of RefCOCO, + and g holds one object: ``image_id``, ``width``, ``height``,
    ``expressions`` (a list), ``bbox``, ``mask``, ``id``. One of gRefCOCO, Ref-ZOM and
    R-RefCOCO holds ``expressions: {raw}`` and the list ``annotations``, in which an
    entry without box, mask and id says that nothing is meant. An element of R-RefCOCO
    is a list of such records.

    Raises:
        UserValueError: If a record lacks something; names it.
    """
    numbers = count()  # unique in the file, for splits that are joined
    return {split: [
        tuple(_record(record, path, f'{split}[{k}]', numbers) for record in (
            _several(entry, f'{path}: {split}[{k}]')))
        for k, entry in enumerate(field(content, split, list, path))]
        for split in content}


def read_groups(index: object, splits: Mapping[str, list[Element]], path: str
                ) -> dict[str, list[int]]:
    """Group of every element of the evaluated splits, from an index of R-RefCOCO.

    Groups are numbered throughout the file.

    Args:
        index: Content of ``instance_index.json``, split -> ranges ``[start, end)`` of
            elements that are about one object.
        splits: Of the file that it belongs to.
        path: Of the index, for messages.

    Raises:
        UserValueError: If a split is unknown, or the ranges of one do not cover each
            of its elements once.
    """
    if not isinstance(index, Mapping) or not index:
        raise UserValueError(f'{path} must hold {{split: [[start, end], ...]}}, got '
                             f'{str(index)[:80]}.')
    groups, number = {}, count()
    for split in index:
        if split not in splits:
            raise UserValueError(
                f'{path} has ranges of split {split!r}; the file of phrases has '
                f'{sorted(splits)}. Is it the index of another benchmark?')
        end_before, numbers = 0, []
        for k, limits in enumerate(field(index, split, list, path)):
            if not (isinstance(limits, list) and len(limits) == 2
                    and all(type(limit) is int for limit in limits)
                    and end_before == limits[0] < limits[1]):
                raise UserValueError(
                    f'{path}: {split}[{k}] must be [start, end] with start = '
                    f'{end_before}, where the range before ends, and end above, got '
                    f'{limits}.')
            numbers += [next(number)] * (limits[1] - limits[0])
            end_before = limits[1]
        if end_before != len(splits[split]):
            raise UserValueError(
                f'{path}: the ranges of {split!r} end at {end_before}, but the split '
                f'has {len(splits[split])} elements. The index is of another file.')
        groups[split] = numbers
    return groups


def _several(entry: object, place: str) -> list:
    """The records of an element: a list in R-RefCOCO, else one."""
    if entry == []:
        raise UserValueError(f'{place} is an empty list. Remove it, or add the '
                             'sentences of its object.')
    return entry if isinstance(entry, list) else [entry]


def _record(entry: Mapping, path: str, where: str, numbers: Iterator[int]
            ) -> GroundingRecord:
    place = f'{path}: {where}'
    image_id = field(entry, 'image_id', int, place)
    if 'annotations' in entry:
        texts = field(entry, 'expressions', dict, place)
        texts = field(texts, 'raw', (str, list), f'{place}: expressions')
        targets = tuple(_targets(field(entry, 'annotations', list, place), place))
    else:
        texts = field(entry, 'expressions', list, place)
        targets = (_target(entry, 'mask', place),)
    texts = [texts] if isinstance(texts, str) else texts
    name = entry.get('file_name') or f'COCO_train2014_{image_id:012d}.jpg'
    return GroundingRecord(
        image_id, _WITH_OBJECT.sub(r'\1\2', field(dict(file_name=name), 'file_name',
                                                  str, place)),
        field(entry, 'width', int, place), field(entry, 'height', int, place),
        tuple(Phrase(text, targets, next(numbers)) for text in texts), where,
        None if entry.get('data_source') is None else field(
            entry, 'data_source', str, place))


def _targets(annotations: list, place: str) -> Iterator[Target]:
    for k, annotation in enumerate(annotations):
        where = f'{place}: annotations[{k}]'
        number = annotation.get('id') if isinstance(annotation, Mapping) else None
        # Nothing is meant: all three are missing or null, the id may also be -1.
        if isinstance(annotation, Mapping) and (number is None or (
                type(number) is int and number <= 0)):
            if annotation.get('bbox') or annotation.get('segmentation'):
                raise UserValueError(
                    f"{where} has a box or mask, and no 'id' above 0 (got {number!r}). "
                    'Write the id of its annotation, or null for all three where '
                    'nothing is meant.')
            continue
        yield _target(annotation, 'segmentation', where)


def _target(entry: Mapping, mask_key: str, place: str) -> Target:
    box = box_field(entry, 'bbox', place)
    return Target(field(entry, 'id', int, place), box, entry.get(mask_key) or None,
                  _area(entry, place) or box[2] * box[3])


def _area(entry: Mapping, place: str) -> float | None:
    area = entry.get('area')
    if area is not None and not (type(area) in (int, float) and 0 <= area < inf):
        raise UserValueError(f"{place}: 'area' must be a number of pixels, got "
                             f'{str(area)[:80]!r}. Correct or remove it.')
    return area
