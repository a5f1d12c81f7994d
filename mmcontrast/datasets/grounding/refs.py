"""Read lists of refs, the layout of RefCOCO, gRefCOCO, Ref-ZOM and R-RefCOCO.

A ref names an image, one annotation or several, and sentences. The annotations are in
a COCO file, ``instances.json``, or in the same file, as in the toy world and in data
of one's own.
"""
from collections.abc import Iterator, Mapping

from ...errors import UserValueError
from .fields import field, flag_field, id_field
from .foreground import area_of
from .records import WHOLE_FILE, Element, GroundingRecord, Phrase, Target


def read_refs(refs: list, coco: Mapping, path: str, coco_path: str
              ) -> dict[str, list[Element]]:
    """Splits of a list of refs.

    A ref is ``dict(image_id, ann_id, sentences)``, and optionally ``ref_id``,
    ``split`` and ``no_target``. ``ann_id`` is an id or a list; with [], null or -1,
    nothing is meant. A sentence is a text or ``dict(raw, sent_id)`` (``sent`` where
    there is no ``raw``); ``exist: false`` says that it alone means nothing, and makes
    the ref a group of true and false sentences.

    Args:
        refs: The list.
        coco: Lists images and annotations, checked.
        path, coco_path: For messages.

    Raises:
        UserValueError: If an entry lacks something, or an id points nowhere.
    """
    images = {image['id']: image for image in coco['images']}
    annotations = {entry['id']: entry for entry in coco['annotations']}
    reader = _Reader(images, annotations, path, coco_path)
    splits: dict[str, list[Element]] = {}
    for k, ref in enumerate(refs):
        record = reader.record(ref, k)
        splits.setdefault(str(ref.get('split') or WHOLE_FILE), []).append((record,))
    return splits


class _Reader:
    def __init__(self, images: Mapping, annotations: Mapping, path: str, coco_path: str
                 ) -> None:
        self.images, self.annotations = images, annotations
        self.path, self.coco_path = path, coco_path
        self._targets: dict[int, Target] = {}
        self._num_sentences = 0

    def record(self, ref: Mapping, number: int) -> GroundingRecord:
        where = f'refs[{number}]'
        place = f'{self.path}: {where}'
        image_id = field(ref, 'image_id', (int, str), place)
        image = self.images.get(image_id)
        if image is None:
            raise UserValueError(
                f'{place}: image_id {image_id} is not among the {len(self.images)} '
                f'images of {self.coco_path}. Are these the annotations of another '
                'benchmark?')
        ids = ([] if flag_field(ref, 'no_target', place, False)
               else _ids(ref, place))
        targets = tuple(self._target(i, image_id, place) for i in ids)
        sentences = field(ref, 'sentences', list, place)
        group = any(isinstance(s, dict) and 'exist' in s for s in sentences)
        return GroundingRecord(
            image_id, image['file_name'], int(image['width']), int(image['height']),
            tuple(self._phrases(sentences, targets, place)), where,
            group_id=id_field(ref, 'ref_id', place, number) if group else None)

    def _target(self, ann_id: int, image_id: int | str, place: str) -> Target:
        entry = self.annotations.get(ann_id)
        if entry is None or entry['image_id'] != image_id:
            where = (f'is not among the {len(self.annotations)} annotations'
                     if entry is None else
                     f'is of image {entry["image_id"]}, not of {image_id}, among those')
            raise UserValueError(
                f'{place}: ann_id {ann_id} {where} of {self.coco_path}. Are these the '
                'annotations of another benchmark?')
        if ann_id not in self._targets:
            self._targets[ann_id] = Target(
                ann_id, entry['bbox'], entry.get('segmentation') or None,
                area_of(entry))
        return self._targets[ann_id]

    def _phrases(self, sentences: list, targets: tuple[Target, ...], place: str
                 ) -> Iterator[Phrase]:
        for k, sentence in enumerate(sentences):
            if isinstance(sentence, str):
                sentence = dict(raw=sentence)
            where = f'{place}: sentences[{k}]'
            has_raw = isinstance(sentence, dict) and 'raw' in sentence
            text = field(sentence, 'raw' if has_raw else 'sent', str, where)
            exists = flag_field(sentence, 'exist', where, True)
            yield Phrase(text, targets if exists else (), id_field(
                sentence, 'sent_id', where, self._num_sentences))
            self._num_sentences += 1


def _ids(ref: Mapping, place: str) -> list[int]:
    """Ids of annotations; -1 and null stand for none."""
    if 'ann_id' not in ref:
        raise UserValueError(
            f"{place} has no 'ann_id', only {sorted(map(str, ref))}. Write the ids of "
            'the annotations that are meant, or [] if nothing is.')
    value = ref['ann_id']
    ids = value if isinstance(value, list | tuple) else [value]
    for number in ids:
        if number is not None and type(number) is not int:
            raise UserValueError(f"{place}: 'ann_id' must be an integer, or a list of "
                                 f'them, got {str(value)[:80]}.')
    return [number for number in dict.fromkeys(ids) if number not in (None, -1)]
