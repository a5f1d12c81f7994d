"""Explain why a dataset that reads an annotation file cannot be built."""
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.registry import DATASETS

from ..errors import UserError, UserValueError
from .box_problems import DROPPED, find_box_problems
from .coco_annotations import (
    check_annotations,
    check_class_names,
    check_lists,
    read_json,
)

# What numpy says in mmengine's BaseDataset when no sample is left.
_NOTHING_LEFT = 'need at least one array to concatenate'


@contextmanager
def explained_build_errors(cfg: object) -> Iterator[None]:
    """Turn errors of a dataset's constructor into a sentence on its annotation file.

    Args:
        cfg: Config of the dataset, or the dataset itself.

    Raises:
        UserValueError: If the file explains the error; names file and entry.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        for leaf in _with_annotation_file(cfg):
            try:
                _explain(leaf, error)
            except UserError as explained:
                raise explained from error
        raise


def _with_annotation_file(cfg: object) -> Iterator[dict]:
    if isinstance(cfg, Mapping):
        if 'type' in cfg and cfg.get('ann_file'):
            yield dict(cfg)
        for value in cfg.values():
            yield from _with_annotation_file(value)
    elif isinstance(cfg, list | tuple):
        for value in cfg:
            yield from _with_annotation_file(value)


def _explain(cfg: dict, error: Exception) -> None:
    """Raise a UserValueError if the annotation file of a dataset explains ``error``."""
    dataset = None
    with suppress(Exception):  # Not every dataset can be built without its data.
        dataset = DATASETS.build(dict(cfg, lazy_init=True))
        dataset.full_init()
        return  # Another one of several is the reason.
    path = str(getattr(dataset, 'ann_file', ''))
    if '://' in path or not Path(path).is_file():
        return
    nothing_left = _NOTHING_LEFT in str(error)
    if Path(path).suffix.lower() == '.json':
        _explain_coco(path, dataset, error, nothing_left)
    if nothing_left:
        _explain_nothing_left(path, dataset)


def _explain_coco(path: str, dataset: object, error: Exception, nothing_left: bool
                  ) -> None:
    data = read_json(path)
    if isinstance(error, ValueError) and not nothing_left:
        _check_encoding(path)
    check_lists(data, path)
    if isinstance(error, KeyError) or 'KeyError' in str(error):
        _find_missing_key(path, data, error)
    if not nothing_left:
        check_annotations(data, path)
        return
    classes = dataset.metainfo.get('classes') or ()
    names = [category.get('name') for category in data['categories']]
    check_class_names(path, classes, names)
    ids = [category['id'] for category in data['categories']
           if not classes or category.get('name') in classes]
    problems = find_box_problems(data, ids)
    reasons = problems.lines(DROPPED)
    if not problems.total:
        reasons = ['It has no annotations.']
    elif problems.kept and not reasons:
        return
    raise UserValueError('\n'.join([
        f'{path}: none of its {len(data["images"])} images is left, with '
        f'{problems.total} boxes, of which {sum(problems.kept.values())} can be used '
        f'(filter_cfg={getattr(dataset, "filter_cfg", None)}).', *reasons,
        *problems.hints]))


def _check_encoding(path: str) -> None:
    try:
        json.loads(Path(path).read_text('utf-8'))
    except ValueError as error:
        raise UserValueError(
            f'{path} is in another encoding than UTF-8 without a byte order mark, '
            f'which pycocotools reads ({error}). Save it as UTF-8.') from error


def _find_missing_key(path: str, data: dict, error: Exception) -> None:
    key = str(error.args[0]).strip("'\"").split("'")[-1] if error.args else ''
    for kind in ('images', 'annotations', 'categories'):
        without = [entry for entry in data[kind]
                   if not isinstance(entry, dict) or key not in entry]
        # A key that no entry has may belong to another list.
        if without and (len(without) < len(data[kind]) or key in _NEEDED[kind]):
            raise UserValueError(
                f'{path}: {len(without)} of {len(data[kind])} {kind} have no {key!r}, '
                f'the first: {str(without[0])[:200]}. The dataset reads it; add it.')


_NEEDED = dict(images=('id', 'file_name', 'width', 'height'),
               annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
               categories=('id', 'name'))


def _explain_nothing_left(path: str, dataset: object) -> None:
    read = dataset.load_data_list()
    kind = type(dataset).__name__
    if not read:
        raise UserValueError(f'{path} gives {kind} no samples: check it and data_root.')
    classes = (dataset.metainfo or {}).get('classes')
    names = _names_in_xml(read)
    if classes and names:
        check_class_names(path, classes, names)
    raise UserValueError(
        f'{path}: none of its {len(read)} samples is left. filter_cfg='
        f'{getattr(dataset, "filter_cfg", None)} removes all of them; metainfo.classes '
        f'is {tuple(classes or ())[:12]}.')


def _names_in_xml(samples: list[dict]) -> list[str]:
    """Names of the objects in files of the layout of PASCAL VOC."""
    found = {}
    for sample in samples[:200]:
        if not sample.get('xml_path'):
            return []
        with suppress(OSError, ElementTree.ParseError):
            root = ElementTree.parse(sample['xml_path']).getroot()
            found.update(dict.fromkeys(
                thing.findtext('name', '') for thing in root.iter('object')))
    return sorted(found)
