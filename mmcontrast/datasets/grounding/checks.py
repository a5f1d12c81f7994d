"""Check what a file of phrases holds: texts, boxes, ids, groups, masks."""
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ...errors import UserValueError
from ...io.text_files import display_name
from .foreground import ForegroundObjects
from .records import (
    Element,
    GroundingFile,
    GroundingRecord,
    records_of,
    targets_of,
)

# What the tokenizer deletes or turns into blanks: nothing of such a phrase is left.
_SEPARATORS = frozenset('.,\'!?"()*#:;-/ \t\r\n')
# More than any image file that is opened has; masks of more end in pycocotools.
_MOST_PIXELS = 2 ** 30


def check_file(file: GroundingFile) -> None:
    """Check all splits of a file.

    Raises:
        UserValueError: If a phrase is empty, an image has an impossible size, a
            sentence id is used twice in a split, or a box is negative or outside of
            its image. The message names file and entry.
    """
    for elements in file.splits.values():
        for record in records_of(elements):
            _check_record(record, file.path)
        _check_sentence_ids(elements, file.path)
        _check_boxes(elements, file.path)


def check_masks(elements: Iterable[Element], path: str) -> None:
    """Check that every object that is referred to has a mask.

    Raises:
        UserValueError: With the number of those without, and the first.
    """
    targets = list(targets_of(elements))
    without = [(record.place, target.id) for record, target in targets
               if not target.segmentation]
    if without:
        place, number = without[0]
        raise UserValueError(
            f'{path}: {len(without)} of {len(targets)} objects that phrases refer to '
            f'have no mask, the first: annotation {number} of {place}. Add a '
            'segmentation to each, or train with boxes alone: '
            'LoadGroundingAnnotations(with_mask=False).')


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
            f'{path}: {len(lacking)} of {len(kinds)} groups lack a true or a false '
            f'sentence, the first: group {group!r} ({place}) has no {kind} sentence. '
            'Each needs one that fits its object and one that fits nothing; remove the '
            'group, or read the file without groups.')


def check_foreground(objects: ForegroundObjects, elements: Sequence[Element],
                     path: str) -> None:
    """Check that a foreground file is of the same images and annotations.

    Raises:
        UserValueError: If an image with a target is not in it, or none of the targets.
    """
    known = set(objects.ids.tolist())
    num_targets = num_known = 0
    for record, target in targets_of(elements):
        if str(record.image_id) not in objects.rows:
            raise UserValueError(
                f'{objects.path} has no image {record.image_id}, which {path} refers '
                'to. Is it the foreground file of another benchmark?')
        num_targets += 1
        num_known += target.id in known
    if num_targets and not num_known:
        raise UserValueError(
            f'{objects.path} has none of the {num_targets} objects that {path} refers '
            'to. Is it the foreground file of another benchmark?')


def missing_images(paths: Iterable[str]) -> list[str]:
    """Those of the paths where there is no file; addresses of servers are not asked.

    Folders are listed once, which is faster than asking for every file.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders and '://' not in path:
            there = os.path.isdir(folder or '.')
            folders[folder] = set(os.listdir(folder or '.')) if there else set()
        if '://' not in path and name not in folders[folder]:
            missing.append(path)
    return missing


def check_images(paths: Sequence[str], ann_file: str) -> None:
    """Check that all images exist.

    Raises:
        FileNotFoundError: With the number of those that do not, and the first five.
    """
    missing = missing_images(paths)
    if missing:
        listed = ', '.join(map(display_name, missing[:5]))
        raise FileNotFoundError(
            f'{len(missing)} of {len(paths)} images that {ann_file} names are missing, '
            f'the first: {listed}. Correct data_root and data_prefix=dict(img_path='
            '...), the folder of the images, or put them there.')


def _check_record(record: GroundingRecord, path: str) -> None:
    place = f'{path}: {record.place}'
    if min(record.width, record.height) <= 0 or (
            record.width * record.height > _MOST_PIXELS):
        raise UserValueError(
            f'{place}: the image must have a size above 0 and at most {_MOST_PIXELS} '
            f'pixels, got {str(record.width)[:20]} x {str(record.height)[:20]}.')
    if not record.phrases:
        raise UserValueError(f'{place} has no sentence. Remove it, or add one.')
    for phrase in record.phrases:
        if not isinstance(phrase.text, str) or all(map(_is_nothing, phrase.text)):
            raise UserValueError(
                f'{place}: the phrase {phrase.text!r} is empty, or nothing but '
                'punctuation. Correct or remove it.')
        if any('\ud800' <= sign <= '\udfff' for sign in phrase.text):
            raise UserValueError(
                f'{place}: the phrase {phrase.text!r:.90} holds half of a character. '
                'Write it again, or correct the tool that wrote the file.')


def _is_nothing(sign: str) -> bool:
    """Whether the tokenizer makes nothing of a character: a blank, or invisible."""
    return sign in _SEPARATORS or (
        not sign.isascii() and unicodedata.category(sign) in ('Zs', 'Zl', 'Zp', 'Cf'))


def _check_sentence_ids(elements: Iterable[Element], path: str) -> None:
    ids = Counter(phrase.sentence_id for record in records_of(elements)
                  for phrase in record.phrases)
    twice = [number for number, times in ids.items() if times > 1]
    if twice:
        places = dict.fromkeys(
            record.place for record in records_of(elements) for phrase in record.phrases
            if phrase.sentence_id == twice[0])
        raise UserValueError(
            f'{path}: {len(twice)} of {len(ids)} sentence ids are used more than once '
            f'in a split, the first: {twice[0]!r} in {" and ".join(places)}. Number '
            'all sentences of the split, or leave sent_id out everywhere.')


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
        f'{path}: {int(bad.sum())} of {len(bad)} boxes lie outside of their image or '
        f'are negative, the first: annotation {target.id} of {record.place}, bbox '
        f'{list(target.bbox)} in {record.width} x {record.height} pixels. Correct or '
        'remove them; bbox must be x, y, width, height.')
