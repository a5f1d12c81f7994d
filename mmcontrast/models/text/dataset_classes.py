"""Class names of datasets by the dataset's name."""
from collections.abc import Sequence
from importlib import import_module

from ...registry import DATASETS, UnknownTypeError

# Where mmseg and mmdet keep their lists of class names.
LISTS = dict(mmseg='mmseg.utils.class_names',
             mmdet='mmdet.evaluation.functional.class_names')
EXTRAS = dict(mmseg='seg', mmdet='det')


def classes_of(name: str) -> Sequence[str]:
    """Class names of a dataset.

    Args:
        name: A registered dataset class, ``'mmdet.CocoDataset'``, or an alias that
            mmseg's or mmdet's ``get_classes`` knows, ``'ade'``, ``'mmseg.voc'``.

    Raises:
        ValueError: If there is no such dataset, or the alias means different classes in
            the two libraries.
        ImportError: If its library is not installed.
    """
    scope, _, alias = name.rpartition('.')
    if alias.endswith('Dataset'):
        return _metainfo(name)
    if scope and scope not in LISTS:
        raise ValueError(f'{name!r}: class lists are known of {" and ".join(LISTS)}.')
    lists = {library: classes for library in ([scope] if scope else LISTS)
             if (classes := _listed(library, alias, needed=bool(scope)))}
    if not lists:
        raise ValueError(
            f'{name!r} is neither a text file nor the name of a dataset. Class names '
            f'come from a list, a text file, a dataset class such as '
            f"'mmseg.ADE20KDataset', an alias {_examples(scope)}, or from a line like "
            "'sky;tree' ('sky;' for one class).")
    first, *others = lists.values()
    if any(list(other) != list(first) for other in others):
        counts = ' and '.join(f'{len(v)} classes in {k}' for k, v in lists.items())
        raise ValueError(f'{name!r} means {counts}: write '
                         + ' or '.join(repr(f'{k}.{name}') for k in lists) + '.')
    return first


def _metainfo(name: str) -> Sequence[str]:
    try:
        dataset = DATASETS.get(name)
    except UnknownTypeError as error:
        raise ValueError(f'No classes of {name!r}: {error}') from error
    classes = getattr(dataset, 'METAINFO', {}).get('classes')
    if not classes:
        raise ValueError(f'{name} has no classes in its METAINFO: give a list, or the '
                         'metainfo of your dataset.')
    return [classes] if isinstance(classes, str) else classes


def _listed(library: str, alias: str, needed: bool) -> Sequence[str] | None:
    """The list that a library keeps under an alias, if it does."""
    try:
        lists = import_module(LISTS[library])
    except ImportError as error:
        if not needed:
            return None
        raise ImportError(
            f"The classes of '{library}.{alias}' are {library}'s: pip install "
            f"'mmcontrast[{EXTRAS[library]}]'. A text file with the class names does "
            'without it.') from error
    known = {name for names in lists.dataset_aliases.values() for name in names}
    return lists.get_classes(alias) if alias in known else None


def _examples(scope: str) -> str:
    return ' or '.join(repr(f'{library}.{alias}') for library, alias in
                       (('mmseg', 'ade'), ('mmdet', 'coco')) if scope in ('', library))
