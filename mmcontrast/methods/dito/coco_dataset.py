"""Read COCO-style files whose classes are base and novel ones."""
from collections import Counter

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from ...datasets.coco_annotations import add_areas, add_file_names, read_annotations
from ...datasets.open_vocabulary import (
    OV_COCO,
    OV_COCO_BASE,
    OV_COCO_NOVEL,
    check_split,
    class_ids,
    plain_name,
)
from ...errors import UserValueError, did_you_mean
from ...models.text.vocabulary import class_list
from ...registry import DATASETS

_CLASS_LISTS = ('classes', 'base_classes', 'novel_classes')


class _ComparedCOCO(COCO):
    """mmdet's COCO file, checked, that compares its categories with the classes."""

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        self.place = str(annotation_file or 'The annotation file')
        if annotation_file is None:
            return
        self.dataset = read_annotations(annotation_file, with_boxes=False)
        add_file_names(self.dataset['images'])
        add_areas(self.dataset['annotations'])
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(self, cat_names=(), sup_names=(), cat_ids=()) -> list[int]:
        if not cat_names:
            return super().get_cat_ids(cat_names, sup_names, cat_ids)
        found = class_ids(cat_names, self.dataset['categories'], self.place)
        others = Counter(a['category_id'] for a in self.dataset.get('annotations', ()))
        for number in found:
            others.pop(number, None)
        if others:
            listed = ', '.join(f'{self.cats[number]["name"]} ({count})'
                               for number, count in others.most_common(10))
            print_log(f'{self.place}: {sum(others.values())} boxes of {len(others)} '
                      f'classes that the dataset does not list are left out: {listed}'
                      f'{", ..." if len(others) > 10 else ""}.', 'current')
        return found


@DATASETS.register_module()
class OpenVocabularyDataset(CocoDataset):
    """mmdet's COCO dataset for a vocabulary of base and novel classes.

    Differences from ``CocoDataset``: the classes must be in the order of the file,
    which mmdet assumes silently; underscores in its names count as spaces; boxes of
    other classes are counted in the log; base and novel classes must not overlap. The
    file is checked; ``area``, ``iscrowd`` and the ``file_name`` of LVIS are added where
    missing.

    Args:
        metainfo: ``classes``: what the detector is to tell apart, for training the base
            classes; ``base_classes`` and ``novel_classes`` for a test of both. Lists,
            ``'cat;dog'``, or text files with one per line, as
            tools/data/make_ov_split.py writes them. Further keys: those of ``METAINFO``
            of a subclass, ``palette``, ``dataset_type``, ``task_name``.
        data_prefix: ``img``: folder of the images; default: ``data_root`` itself.
        args, kwargs: Those of ``CocoDataset``.

    Raises:
        UserValueError: If there are no classes, base and novel ones overlap, one of
            them is not in ``classes``, ``metainfo`` has an unknown key, or the file is
            not valid, see ``read_annotations`` in mmcontrast/datasets.
    """

    METAINFO = dict()
    COCOAPI = _ComparedCOCO

    def __init__(self, *args, metainfo: dict | None = None,
                 data_prefix: dict | None = None, **kwargs) -> None:
        place = kwargs.get('ann_file') or (args[0] if args else '')
        self._check(self._load_metainfo(metainfo),
                    f'{type(self).__name__}{f" of {place}" if place else ""}')
        super().__init__(*args, metainfo=metainfo,
                         data_prefix=data_prefix or dict(img=''), **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        loaded = dict(metainfo or {})
        known = {*_CLASS_LISTS, 'palette', 'dataset_type', 'task_name', *cls.METAINFO}
        for key in loaded:
            if key not in known:
                raise UserValueError(
                    f'{cls.__name__}: metainfo has the unknown key {key!r}'
                    f'{did_you_mean(key, known)} The keys are '
                    f'{", ".join(sorted(known))}.')
        for key in _CLASS_LISTS:
            if loaded.get(key):
                loaded[key] = tuple(map(plain_name, class_list(loaded[key])))
        return super()._load_metainfo(loaded)

    def _check(self, metainfo: dict, place: str) -> None:
        classes = metainfo.get('classes')
        if not classes:
            raise UserValueError(
                f'{place} needs metainfo=dict(classes=[...]), the class '
                'names or a text file with one per line.')
        groups = {kind: metainfo.get(f'{kind}_classes', ()) for kind in
                  ('base', 'novel')}
        check_split(**groups)
        for kind, names in groups.items():
            for name in names:
                if name not in classes:
                    raise UserValueError(
                        f'{place}: {name!r} of {kind}_classes is not one '
                        f'of the classes{did_you_mean(name, classes)}')


@DATASETS.register_module()
class OVCocoDataset(OpenVocabularyDataset):
    """OV-COCO: 48 base and 17 novel classes of COCO 2017.

    Reads the official files as well as those of tools/data/make_ov_split.py.

    Args:
        base_only: Tell the base classes apart alone, for training; else all 65.
        args, kwargs: Those of ``CocoDataset``.

    Raises:
        UserValueError: If ``base_only`` and ``metainfo`` are both given.
    """

    METAINFO = dict(
        classes=OV_COCO, base_classes=OV_COCO_BASE, novel_classes=OV_COCO_NOVEL)

    def __init__(self, *args, base_only: bool = False, **kwargs) -> None:
        if base_only and kwargs.get('metainfo'):
            raise UserValueError(
                'OVCocoDataset: base_only=True sets the classes itself; leave metainfo '
                f'({", ".join(kwargs["metainfo"])}) out, or use OpenVocabularyDataset '
                'for classes of your own.')
        if base_only:
            kwargs['metainfo'] = dict(classes=OV_COCO_BASE, novel_classes=())
        super().__init__(*args, **kwargs)
