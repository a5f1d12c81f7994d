"""Read ODVG files, one JSON object a line, as mmdet's ``ODVGDataset`` does.

``{filename, height, width, grounding: {caption, regions: [{bbox, phrase}]}}``, where
``bbox`` is one box x1, y1, x2, y2 or several; or ``detection: {instances: [{bbox,
label, category}]}``, whose categories are phrases. There are no masks.
"""
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import count

from ...errors import UserValueError
from .fields import box_field, field
from .foreground import ForegroundObjects
from .records import WHOLE_FILE, Element, GroundingFile, GroundingRecord, Phrase, Target


def read_odvg(lines: list, path: str) -> GroundingFile:
    """Every phrase of every line; objects are the boxes of all lines of an image.

    Equal boxes of an image are one object. Phrases of one line that have the same text
    mean all of their boxes together.

    Raises:
        UserValueError: If a line lacks something; names the line.
    """
    objects: dict[str, dict[tuple, Target]] = defaultdict(dict)
    elements: list[Element] = []
    numbers = count(1)
    for k, line in enumerate(lines, start=1):
        place = f'{path}, line {k}'
        name = field(line, 'filename', str, place)
        width, height = (field(line, side, int, place) for side in ('width', 'height'))
        known = objects[name]
        for text, boxes in _boxes_of_phrases(line, place).items():
            for box in boxes:
                if box not in known:
                    known[box] = _target(next(numbers), box)
            targets = dict.fromkeys(boxes)
            phrase = Phrase(text, tuple(map(known.get, targets)), len(elements))
            elements.append((GroundingRecord(
                name, name, width, height, (phrase,), f'line {k}'),))
    if not elements:
        raise UserValueError(
            f'{path}: none of its {len(lines)} lines has a phrase: regions under '
            "'grounding', or instances under 'detection', are empty.")
    return GroundingFile(path, 'odvg', {WHOLE_FILE: elements}, ForegroundObjects.of(
        path, {name: [(t.id, t.bbox, t.area) for t in found.values()]
               for name, found in objects.items()}))


def _boxes_of_phrases(line: Mapping, place: str) -> dict[str, list[tuple]]:
    phrases = defaultdict(list)
    for text, box in _pairs(line, place):
        phrases[text].append(box)
    return phrases


def _pairs(line: Mapping, place: str) -> Iterator[tuple[str, tuple]]:
    """Text and box x1, y1, x2, y2 of everything that a line holds."""
    if 'grounding' in line:
        regions = field(field(line, 'grounding', dict, place), 'regions', list, place)
        for k, region in enumerate(regions):
            where = f'{place}: regions[{k}]'
            text, boxes = field(region, 'phrase', str, where), region.get('bbox')
            nested = isinstance(boxes, list) and boxes and isinstance(boxes[0], list)
            for box in boxes if nested else [boxes]:
                yield text, _corners(box, where)
        return
    instances = field(field(line, 'detection', dict, place), 'instances', list, place)
    for k, instance in enumerate(instances):
        where = f'{place}: instances[{k}]'
        yield (field(instance, 'category', str, where),
               _corners(instance.get('bbox'), where))


def _corners(box: object, place: str) -> tuple:
    x1, y1, x2, y2 = box_field(dict(bbox=box), 'bbox', place)
    if x2 < x1 or y2 < y1:
        raise UserValueError(f'{place}: bbox must be x1, y1, x2, y2 with x1 <= x2 and '
                             f'y1 <= y2, got {box}.')
    return x1, y1, x2, y2


def _target(number: int, box: tuple) -> Target:
    x1, y1, x2, y2 = box
    return Target(number, (x1, y1, x2 - x1, y2 - y1), None, (x2 - x1) * (y2 - y1))
