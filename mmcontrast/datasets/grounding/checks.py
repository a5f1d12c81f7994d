"""Check what a file of phrases holds: texts, boxes, ids, groups, masks."""
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...errors import UserValueError
from .records import Element, GroundingFile, GroundingRecord, Target

# What the tokenizer deletes or turns into blanks: nothing of such a phrase is left.
_SEPARATORS = frozenset('.,\'!?"()*#:;-/ \t\r\n')


def check_file(file: GroundingFile) -> None:
    """Check all splits of a file.

    Raises:
        UserValueError: If a phrase is empty, an image has no size, a sentence id is
            used twice in a split, or a box is negative or outside of its image. The
            message names file and entry.
    """
    for elements in file.splits.values():
        for record in records_of(elements):
            _check_record(record)
        _check_sentence_ids(elements, file.path)
        _check_boxes(elements, file.path)


def records_of(elements: Iterable[Element]) -> Iterator[GroundingRecord]:
    """All records, one after the other."""
    return (record for element in elements for record in element)


def targets_of(elements: Iterable[Element]) -> Iterator[tuple[GroundingRecord, Target]]:
    """All objects that are referred to, once for each record."""
    for record in records_of(elements):
        seen = {}
        for phrase in record.phrases:
            seen.update((target.id, target) for target in phrase.targets)
        for target in seen.values():
            yield record, target


def check_masks(elements: Iterable[Element], path: str) -> None:
    """Check that every object that is referred to has a mask.

    Raises:
        UserValueError: With the number of those without, and the first.
    """
    without = [(record.place, target.id) for record, target in targets_of(elements)
               if not target.segmentation]
    if without:
        place, number = without[0]
        raise UserValueError(
            f'{path}: {len(without)} objects that phrases refer to have no mask, the '
            f'first: annotation {number} of {place}. Add a segmentation to each, or '
            'train with boxes alone: LoadGroundingAnnotations(with_mask=False).')


def check_groups(elements: Sequence[Element], path: str) -> None:
    """Check that every group has a true and a false sentence.

    R-RefCOCO divides by the number of both.

    Raises:
        UserValueError: With the number of those that have not, and the first.
    """
    kinds: dict = {}
    for record in records_of(elements):
        if record.group_id is not None:
            kinds.setdefault(record.group_id, (record.place, set()))[1].update(
                bool(phrase.targets) for phrase in record.phrases)
    lacking = [(group, place, found) for group, (place, found) in kinds.items()
               if len(found) < 2]
    if lacking:
        group, place, found = lacking[0]
        kind = 'false' if True in found else 'true'
        raise UserValueError(
            f'{path}: {len(lacking)} of {len(kinds)} groups have no {kind} sentence or '
            f'no other one, the first: group {group!r} ({place}) has no {kind} one. '
            'Each needs a sentence that fits its object and one that fits nothing; '
            'remove the group, or read the file without groups.')


def _check_record(record: GroundingRecord) -> None:
    if record.width <= 0 or record.height <= 0:
        raise UserValueError(f'{record.place}: the image must have a size above 0, got '
                             f'{record.width} x {record.height}.')
    if not record.phrases:
        raise UserValueError(f'{record.place} has no sentence. Remove it, or add one.')
    for phrase in record.phrases:
        if not isinstance(phrase.text, str) or _SEPARATORS.issuperset(phrase.text):
            raise UserValueError(
                f'{record.place}: the phrase {phrase.text!r} is empty, or nothing but '
                'punctuation. Correct or remove it.')


def _check_sentence_ids(elements: Iterable[Element], path: str) -> None:
    ids = Counter(phrase.sentence_id for record in records_of(elements)
                  for phrase in record.phrases)
    twice = [number for number, times in ids.items() if times > 1]
    if twice:
        places = [record.place for record in records_of(elements) if any(
            phrase.sentence_id == twice[0] for phrase in record.phrases)]
        raise UserValueError(
            f'{path}: {len(twice)} sentence ids are used more than once in a split, '
            f'the first: {twice[0]!r} in {" and ".join(dict.fromkeys(places[:2]))}. '
            'Number the sentences, or leave sent_id out.')


def _check_boxes(elements: Iterable[Element], path: str) -> None:
    found = list(targets_of(elements))
    boxes = np.array([target.bbox for _, target in found], np.float64).reshape(-1, 4)
    sizes = np.array([(record.width, record.height) for record, _ in found],
                     np.float64).reshape(-1, 2)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    bad = (boxes[:, 2:] < 0).any(1) | (low >= sizes).any(1) | (high <= 0).any(1)
    if not bad.any():
        return
    first = int(bad.argmax())
    record, target = found[first]
    raise UserValueError(
        f'{path}: {int(bad.sum())} boxes lie outside of their image or are negative, '
        f'the first: annotation {target.id} of {record.place}, bbox '
        f'{list(target.bbox)} in {record.width} x {record.height} pixels. Correct or '
        'remove them; bbox must be x, y, width, height.')
