"""Read a class vocabulary from a list, a text file, a dataset or a command line."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from reprlib import Repr

from ..._compat import install_command
from ...datasets.class_files import parse_json, parse_lines, read_class_file
from ...datasets.open_vocabulary import plain_name
from ...errors import UserValueError
from ...registry import DATASETS, UnknownTypeError

# Where mmseg and mmdet keep their lists of class names.
LISTS = dict(mmseg='mmseg.utils.class_names',
             mmdet='mmdet.evaluation.functional.class_names')
# What a path to a class list ends in.
FILE_SUFFIXES = ('.txt', '.json', '.csv', '.tsv', '.yaml', '.yml', '.names')
# A YAML of a few lines can hold lists of lists that are GBs when written out.
_SHORT = Repr()
_SHORT.maxlevel = 2


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a model, in the order of their labels.

    Attributes:
        synonyms: For each class its name, then its other names.
    """

    synonyms: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> list[str]:
        """One name a class."""
        return [names[0] for names in self.synonyms]

    def __len__(self) -> int:
        return len(self.synonyms)


def class_list(source: str | Path | Sequence | Mapping | Vocabulary) -> list[str]:
    """The class names of a vocabulary, see :func:`read_vocabulary`."""
    return read_vocabulary(source).names


def read_vocabulary(source: str | Path | Sequence | Mapping | Vocabulary) -> Vocabulary:
    """Read a class vocabulary.

    Args:
        source: One of

            - a list of names, or of lists: a name and its synonyms;
            - a file: text with one class a line, ``sofa; couch`` for synonyms, lines
              that begin with ``#`` left out; JSON, YAML or a table, see
              :func:`~mmcontrast.datasets.class_files.read_class_file`;
            - a dataset by its class (``'mmseg.ADE20KDataset'``, ``'ShapesDataset'``) or
              by the alias of its class list (``'ade'``, ``'mmdet.coco'``);
            - the metainfo of a dataset: a dict with ``classes``;
            - names as on a command line, ``'sky;tree;a red car'``; for one class
              alone ``'sky;'``.

    Raises:
        ValueError: If there is no class, a name appears twice or is empty, or there is
            no dataset of that name.
        FileNotFoundError: If a text file does not exist.
        TypeError: If ``source`` is something else.
    """
    if isinstance(source, Vocabulary):
        return source
    if isinstance(source, Path | str):
        classes, place = _read_text(source)
    elif isinstance(source, Mapping):
        classes, place = _metainfo_classes(source), 'the metainfo'
    elif isinstance(source, Sequence):
        classes, place = source, 'the class list'
    else:
        raise TypeError(
            'A vocabulary is a list of names, a text file, the name of a dataset or '
            f'its metainfo, got {type(source).__name__}.')
    synonyms = tuple(_clean(entry, place) for entry in classes)
    _check(synonyms, place)
    return Vocabulary(synonyms)


def _read_text(source: str | Path) -> tuple[Sequence, str]:
    """Classes of a file, command line or dataset, and what messages call it."""
    path = Path(source).expanduser()
    # Not path.is_file(), which fails for a line that is too long for a file name.
    if os.path.isfile(path):
        return read_class_file(path), str(path)
    # A folder may be called like a data set, 'ade'.
    if os.path.isdir(path) and (isinstance(source, Path) or '/' in source):
        raise UserValueError(f'The class list {source} is a folder; expected a file.')
    if isinstance(source, Path) or (
            ';' not in source and path.suffix.lower() in FILE_SUFFIXES):
        raise FileNotFoundError(f'No class list at {source}. Expected a text file, one '
                                'class a line, synonyms after semicolons.')
    if source.strip().startswith(('[', '{')):
        return parse_json(source, repr(source)), repr(source)
    if ';' in source or not source.strip():
        names = [name.strip() for name in source.split(';') if name.strip()]
        place = repr(source)
        return (parse_lines(names, place) if len(names) > 1 else names), place
    return [_library_name(name, source) for name in dataset_classes(source)], source


def class_lines(names: Sequence[str], place: str) -> str:
    """Content of a text file that :func:`read_vocabulary` reads as these names.

    Args:
        place: Where the names come from, for messages.

    Raises:
        UserValueError: If a name would be read as something else, or as another one.
    """
    known = {}
    for name in names:
        if not name.strip() or name.startswith('#') or {*';\r\n'} & {*name} or (
                name != name.strip()):
            raise UserValueError(
                f'{place}: the category name {name!r} cannot be in a class list, where '
                'an empty line is skipped, # begins a comment and ; separates '
                'synonyms. Rename the category in the file.')
        other = known.setdefault(_folded(name), name)
        if other is not name:
            raise UserValueError(
                f'{place}: the category names {other!r} and {name!r} differ in letter '
                'case alone: their texts would be the same vector. Rename or join the '
                'categories in the file.')
    if parse_lines(list(names), place) != [[name] for name in names]:
        raise UserValueError(
            f'{place}: its category names would be read as numbered or quoted lines of '
            f'a class list, such as {names[0]!r}. Rename the categories in the file.')
    return '\n'.join([*names, ''])


def _metainfo_classes(metainfo: Mapping) -> Sequence[str]:
    classes = metainfo.get('classes') or metainfo.get('CLASSES')
    if classes is None:
        raise ValueError(f"The metainfo has no 'classes', only {sorted(metainfo)}.")
    return [plain_name(name) for name in
            ([classes] if isinstance(classes, str) else classes)]


def _clean(entry: str | Sequence[str], place: str) -> tuple[str, ...]:
    """Name and synonyms of a class, white space normalized."""
    names = [entry] if isinstance(entry, str) else entry
    if not isinstance(names, Sequence) or not all(isinstance(x, str) for x in names):
        raise TypeError(f'{place}: a class is a name, or a list of a name and '
                        f'synonyms, got {_SHORT.repr(entry)}.')
    names = [' '.join(name.split()) for name in names]
    if not names or not all(names):
        raise ValueError(f'{place} has a class without a name: {entry!r}.')
    return tuple(names)


def _check(synonyms: tuple[tuple[str, ...], ...], place: str) -> None:
    if not synonyms:
        raise ValueError(f'{place} names no class; expected at least one.')
    seen = {}
    for label, entry in enumerate(synonyms):
        for name in entry:
            other = seen.setdefault(_folded(name), label)
            if other != label or len(set(map(_folded, entry))) < len(entry):
                raise ValueError(
                    f'{place} has {name!r} twice, as label {other} and label {label}: '
                    'their texts would be the same vector. Remove one, or tell them '
                    "apart: 'computer mouse'.")


def _library_name(name: str, dataset: str) -> str:
    """A class name of a library's dataset as a text.

    Objects365 has alternatives, ``Cabinet/shelf``, read as ``cabinet or shelf``.
    """
    if 'objects365' in dataset.lower():
        name = name.replace('/', ' or ').lower()
    return plain_name(name)


def _folded(name: str) -> str:
    """The same for names with equal tokens."""
    return ' '.join(name.split()).lower()


def dataset_classes(name: str) -> Sequence[str]:
    """Class names of a dataset, by its class or the alias of its class list.

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
        raise ValueError(f'{name!r}: class lists come from {" and ".join(LISTS)}.')
    lists = {library: classes for library in ([scope] if scope else LISTS)
             if (classes := _listed(library, alias, needed=bool(scope)))}
    if not lists:
        raise ValueError(
            f'{name!r} is neither a text file nor the name of a dataset'
            + (f"; commas separate no classes, write '{name.replace(',', ';')}'"
               if ',' in name else '') + '. Class names '
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
            f"The classes of '{library}.{alias}' are {library}'s: "
            f'{install_command(library)}. A text file with the class names does '
            'without it.') from error
    known = {name for names in lists.dataset_aliases.values() for name in names}
    return lists.get_classes(alias) if alias in known else None


def _examples(scope: str) -> str:
    return ' or '.join(repr(f'{library}.{alias}') for library, alias in
                       (('mmseg', 'ade'), ('mmdet', 'coco')) if scope in ('', library))
