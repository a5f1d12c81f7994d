"""Provide images with a phrase, the objects that it means, and all other objects."""
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from numbers import Real

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path

from ...errors import UserValueError, did_you_mean
from ...registry import DATASETS, TRANSFORMS
from ..replacing import ReplacesBadImages
from .checks import check_foreground, check_groups, check_images, check_masks
from .files import read_grounding
from .foreground import ForegroundObjects, check_crowds, read_foreground
from .records import Element, GroundingRecord, Phrase, referred_objects

SENTENCES = ('random', 'each', 'first')
#: mmdet's ``text_mode`` -> ``sentences``.
_TEXT_MODES = dict(random='random', original='each', select_first='first')
#: Value of ``foreground``: only what some phrase of the file refers to.
REFERRED = 'referred'


@DATASETS.register_module()
class GroundingDataset(ReplacesBadImages, BaseDataset):
    """Images with phrases: RefCOCO/+/g, gRefCOCO, Ref-ZOM, R-RefCOCO, ODVG, your own.

    An item holds ``img_path``, ``img_id``, ``height``, ``width``, ``text`` (the phrase
    as written), ``sentence_id``, ``objects``, and where there are such ``group_id`` and
    ``data_source``. An object is ``dict(id, bbox, area, referred, segmentation)``: the
    foreground objects of the image (x, y, w, h in pixels) that are neither small nor
    large, then those that the phrase refers to although they are. Only objects that are
    referred to have a segmentation.

    Args:
        ann_file: Phrases, in a format that :func:`~.files.read_grounding` reads.
        split: Of the file, or several, which are joined; None if it has only one.
        data_root: Folder that all paths are relative to.
        data_prefix: ``dict(img_path=...)``, folder of the images below ``data_root``.
        format: See :func:`~.files.read_grounding`.
        instances: COCO file with the annotations that a list of refs names.
        foreground: File of all objects, see :func:`~.foreground.read_foreground`;
            'referred': only what phrases of these splits refer to. None: the
            annotations of the file itself or of ``instances``.
        index: Of R-RefCOCO, see :func:`~.files.read_grounding`.
        split_file: With it, ``ann_file`` is the COCO file, and this one the list of
            refs: the arguments of mmdet's ``RefCocoDataset``.
        text_mode: mmdet's name of ``sentences``: 'random', 'original' (each) or
            'select_first'.
        sentences: 'random': an item is a record, and every visit draws one of its
            sentences. 'each': every sentence is an item. 'first': the first of each
            record. Default: 'each' with ``test_mode``, else 'random'.
        data_source: Keep records of these sources alone; those without one are kept.
        min_area: Area in pixels that a foreground object must exceed.
        area_share: Shares of the image that its area must lie between, exclusive.
        crowds: 'drop' or 'keep' foreground objects that stand for several
            (``iscrowd``). The code of PropVG's authors does not say which they did.
        max_bad_share: See :class:`~mmcontrast.datasets.replacing.ReplacesBadImages`.
        pipeline: Transforms.
        kwargs: See mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: If a file is missing, or images that it names are.
        UserValueError: If a file, a split or an option is wrong, or an object has no
            mask though the pipeline reads masks.
    """

    noun = 'sample'

    def __init__(self, ann_file: str, split: str | Sequence[str] | None = None,
                 data_root: str = '', data_prefix: Mapping | None = None,
                 format: str = 'auto', instances: str | None = None,
                 foreground: str | None = None, index: str | None = None,
                 split_file: str | None = None, text_mode: str | None = None,
                 sentences: str | None = None,
                 data_source: str | Sequence[str] | None = None,
                 min_area: float = 100, area_share: tuple[float, float] = (0.05, 0.8),
                 crowds: str = 'drop', max_bad_share: float = 0.1,
                 test_mode: bool = False,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        if split_file is not None:
            if instances is not None:
                raise UserValueError('Give instances or split_file, not both: with '
                                     'split_file, ann_file is the file of instances.')
            ann_file, instances = split_file, ann_file
        self.split, self.format = split, format
        self.instances, self.foreground, self.index = instances, foreground, index
        self.sentences = _sentences(sentences, text_mode, test_mode)
        self.data_source = (data_source if data_source is None
                            or isinstance(data_source, list | tuple) else [data_source])
        self.min_area, self.area_share = _areas(min_area, area_share)
        self.crowds = check_crowds(crowds)
        self.max_bad_share = max_bad_share
        super().__init__(
            ann_file=os.path.expanduser(ann_file),
            data_root=os.path.expanduser(data_root), test_mode=test_mode,
            data_prefix=_prefix(data_prefix),
            pipeline=[TRANSFORMS.build(step) if isinstance(step, dict) else step
                      for step in pipeline], **kwargs)

    @property
    def source(self) -> str:
        """Where the images come from, for messages."""
        return self.data_prefix['img_path'] or self.ann_file

    def load_data_list(self) -> list[dict]:
        instances, index = (path and self._joined(path)
                            for path in (self.instances, self.index))
        file = read_grounding(self.ann_file, self.format, instances, index, self.crowds)
        elements = self._of_sources(file.select(self.split))
        if any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms):
            check_masks(elements, self.ann_file)
        if self.sentences == 'each':
            check_groups(elements, self.ann_file)
        self.objects = self._foreground(file.objects, elements)
        items = [_item(choices) for choices in _choices(elements, self.sentences)]
        self._locate_images(items)
        return items

    def get_data_info(self, idx: int) -> dict:
        item = super().get_data_info(idx)
        record = random.choice(item.pop('records'))
        phrase = random.choice(record.phrases)
        item |= _image_fields(record)
        item['img_path'] = self._image_path(record)
        return item | dict(
            text=phrase.text, sentence_id=phrase.sentence_id,
            objects=self._objects(record, phrase))

    def image_ids(self) -> list[int | str]:
        """The image of each item."""
        return [super(GroundingDataset, self).get_data_info(i)['img_id']
                for i in range(len(self))]

    def _objects(self, record: GroundingRecord, phrase: Phrase) -> list[dict]:
        """Foreground objects, then those that are meant and are not among them."""
        targets = {target.id: target for target in phrase.targets}
        store, found = self.objects, []
        for row in store.kept(record.image_id, (record.width, record.height),
                              self.min_area, self.area_share):
            number = int(store.ids[row])
            target = targets.pop(number, None)
            found.append(dict(
                id=number, bbox=store.boxes_xywh[row].tolist(),
                area=float(store.areas[row]), referred=target is not None,
                segmentation=target and target.segmentation))
        return found + [
            dict(id=target.id, bbox=list(target.bbox), area=target.area, referred=True,
                 segmentation=target.segmentation) for target in targets.values()]

    def _of_sources(self, elements: list[Element]) -> list[Element]:
        if self.data_source is None:
            return elements
        sources = dict.fromkeys(record.data_source for element in elements
                                for record in element)
        for name in self.data_source:
            if name not in sources:
                known = [str(source) for source in sources]
                raise UserValueError(
                    f'{self.ann_file} has no records of data_source {name!r}'
                    f'{did_you_mean(str(name), known)} It has {known}.')
        wanted = {None, *self.data_source}
        kept = (tuple(r for r in element if r.data_source in wanted)
                for element in elements)
        return [element for element in kept if element]

    def _foreground(self, own: ForegroundObjects | None, elements: list[Element]
                    ) -> ForegroundObjects:
        if self.foreground == REFERRED:
            return referred_objects(elements, self.ann_file)
        if self.foreground is not None:
            objects = read_foreground(self._joined(self.foreground), self.crowds)
            check_foreground(objects, elements, self.ann_file)
            return objects
        if own is None:
            raise UserValueError(
                f'{self.ann_file} holds only the objects that phrases refer to, and '
                'the model is to propose all. Give foreground=, the file of all '
                f"objects or COCO's instances_train2014.json; or foreground="
                f'{REFERRED!r} to do without.')
        return own

    def _joined(self, path: str) -> str:
        path = os.path.expanduser(path)
        return os.path.join(self.data_root, path) if self.data_root else path

    def _image_path(self, record: GroundingRecord) -> str:
        prefix = self.data_prefix['img_path']
        join = join_path if '://' in prefix else os.path.join
        return join(prefix, record.file_name)

    def _locate_images(self, items: list[dict]) -> None:
        """Add the path of an image to every item, and check that all exist."""
        for item in items:
            item['img_path'] = self._image_path(item['records'][0])
        check_images(list(dict.fromkeys(
            self._image_path(record) for item in items for record in item['records'])),
            self.ann_file)


def _sentences(sentences: str | None, text_mode: str | None, test_mode: bool) -> str:
    if text_mode is not None:
        if sentences is not None or text_mode not in _TEXT_MODES:
            raise UserValueError(
                f'text_mode={text_mode!r} must be one of {list(_TEXT_MODES)}, and '
                'alone: sentences is the same option.')
        return _TEXT_MODES[text_mode]
    if sentences is None:
        return 'each' if test_mode else 'random'
    if sentences not in SENTENCES:
        raise UserValueError(
            f'sentences must be one of {list(SENTENCES)}, got {sentences!r}.')
    return sentences


def _areas(min_area: float, area_share: Sequence[float]
           ) -> tuple[float, Sequence[float]]:
    """Both options, after a check: swapped limits would leave no object."""
    if not (isinstance(min_area, Real) and abs(min_area) < inf):
        raise UserValueError(f'min_area must be a number of pixels, got {min_area!r}.')
    if not (isinstance(area_share, list | tuple) and len(area_share) == 2
            and all(isinstance(share, Real) for share in area_share)
            and area_share[0] < area_share[1]):
        raise UserValueError('area_share must be two shares of the image, the smaller '
                             f'first, such as (0.05, 0.8), got {area_share!r}.')
    return min_area, area_share


def _prefix(data_prefix: Mapping | None) -> dict:
    """As ``img_path``, and as ``img`` in configs of mmdet's detectors."""
    given = {} if data_prefix is None else data_prefix
    if not isinstance(given, Mapping) or len(given) > 1 or not (
            given.keys() <= {'img_path', 'img'}) or not all(
                isinstance(folder, str) for folder in given.values()):
        raise UserValueError('data_prefix must be dict(img_path=...), got '
                             f'{given!r}.')
    return dict(img_path=next(iter(given.values()), ''))


def _choices(elements: Iterable[Element], sentences: str) -> Iterator[Element]:
    """What each item draws from."""
    for element in elements:
        if sentences == 'random':
            yield element
        elif sentences == 'first':
            yield replace(element[0], phrases=element[0].phrases[:1]),
        else:
            for record in element:
                for phrase in record.phrases:
                    yield replace(record, phrases=(phrase,)),


def _item(records: Element) -> dict:
    return dict(_image_fields(records[0]), records=records)


def _image_fields(record: GroundingRecord) -> dict:
    fields = dict(img_id=record.image_id, height=record.height, width=record.width,
                  data_source=record.data_source, group_id=record.group_id)
    return {key: value for key, value in fields.items() if value is not None}
