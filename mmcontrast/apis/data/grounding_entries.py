"""Write phrases and objects in the JSON layouts of PropVG's authors."""
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...datasets.coco_annotations import read_json
from ...datasets.grounding.foreground import area_of, checked_coco
from ...datasets.grounding.records import Element, GroundingRecord, Phrase, Target
from ...errors import UserValueError

# What an entry without a target has in place of one.
_NOTHING = dict(id=None, bbox=None, segmentation=None)
_NAME = 'COCO_train2014_{:012d}.jpg'


def entries_of(elements: Iterable[Element], kind: str, each: bool) -> Iterator:
    """What a converted file holds of a split.

    Args:
        elements: Of the split.
        kind: 'object': one target a record. 'objects': any number. 'groups': the same
            in lists, which are about one object.
        each: Whether a record gets one sentence, as for evaluation.

    Raises:
        UserValueError: If a phrase of 'object' has not exactly one target, or an image
            id is no integer.
    """
    for element in elements:
        entries = [_entry(record, phrases, kind) for record in element
                   for phrases in _parts(record, each)]
        if kind != 'groups':
            yield from entries
        elif each:
            yield from ([entry] for entry in entries)
        else:
            yield entries


def ranges_of(elements: Iterable[Element]) -> list[list[int]]:
    """Where the sentences of each element stand if every one is an entry."""
    ranges, start = [], 0
    for element in elements:
        end = start + sum(len(record.phrases) for record in element)
        ranges.append([start, end])
        start = end
    return ranges


def objects_of(paths: Sequence[str | Path], image_ids: Iterable, crowds: str) -> dict:
    """A foreground file: all objects of these images.

    Args:
        paths: COCO files; an object that is in several is taken once.
        image_ids: Images without objects get empty lists.
        crowds: 'drop' or 'keep' regions of several objects.
    """
    found: dict = {number: {} for number in sorted(image_ids, key=str)}
    for path in paths:
        for thing in checked_coco(read_json(path), str(path))['annotations']:
            if thing['image_id'] in found and not (
                    crowds == 'drop' and thing.get('iscrowd')):
                found[thing['image_id']][thing['id']] = thing
    return {str(number): dict(
        bbox=[thing['bbox'] for thing in things.values()],
        segmentation=[thing.get('segmentation') for thing in things.values()],
        id=list(things), area=[area_of(thing) for thing in things.values()])
        for number, things in found.items()}


def _parts(record: GroundingRecord, each: bool) -> list[list[Phrase]]:
    """Phrases that can be one entry: they mean the same."""
    if each:
        return [[phrase] for phrase in record.phrases]
    parts: dict[tuple, list[Phrase]] = {}
    for phrase in record.phrases:
        parts.setdefault(tuple(target.id for target in phrase.targets), []).append(
            phrase)
    return list(parts.values())


def _entry(record: GroundingRecord, phrases: list[Phrase], kind: str) -> dict:
    if type(record.image_id) is not int:
        raise UserValueError(f'{record.place}: image_id must be an integer in this '
                             f'layout, got {record.image_id!r}.')
    entry = dict(image_id=record.image_id, width=record.width, height=record.height)
    if record.data_source is not None:
        entry['data_source'] = record.data_source
    texts, targets = [phrase.text for phrase in phrases], phrases[0].targets
    if kind != 'object':
        return entry | dict(
            file_name=record.file_name,
            expressions=dict(raw=texts if len(texts) > 1 else texts[0]),
            annotations=[_annotation(target) for target in targets] or [_NOTHING])
    if len(targets) != 1:
        raise UserValueError(
            f'{record.place}: {texts[0]!r} means {len(targets)} objects, and in this '
            'benchmark a phrase means one. Is it the file of another benchmark?')
    if record.file_name != _NAME.format(record.image_id):
        entry['file_name'] = record.file_name
    target = targets[0]
    return entry | dict(expressions=texts, id=target.id, bbox=list(target.bbox),
                        mask=target.segmentation)


def _annotation(target: Target) -> dict:
    return dict(id=target.id, bbox=list(target.bbox), segmentation=target.segmentation)
