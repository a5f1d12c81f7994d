"""Class vocabularies: from a list, a file, a dataset's metainfo or a dataset's name."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset_classes import classes_of


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a model, in the order of their labels.

    Attributes:
        words: For each class its name, then its synonyms.
    """

    words: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> list[str]:
        """One name a class."""
        return [words[0] for words in self.words]

    def __len__(self) -> int:
        return len(self.words)


def class_list(source: str | Path | Sequence | Mapping | Vocabulary) -> list[str]:
    """The class names of a vocabulary, see :func:`read_vocabulary`."""
    return read_vocabulary(source).names


def read_vocabulary(source: str | Path | Sequence | Mapping | Vocabulary) -> Vocabulary:
    """Read a class vocabulary.

    Args:
        source: One of

            - a list of names, or of lists: a name and its synonyms;
            - a text file, one class a line, ``sofa; couch`` for synonyms, lines that
              begin with ``#`` left out;
            - a dataset by its class (``'mmseg.ADE20KDataset'``, ``'ShapesDataset'``) or
              by the alias of its class list (``'ade'``, ``'mmdet.coco'``);
            - the metainfo of a dataset: a dict with ``classes``;
            - names as on a command line, ``'sky;tree;a red car'``; for one class
              alone ``'sky;'``.

    Raises:
        ValueError: If there is no class, a word stands twice or is empty, or a name
            is that of no dataset.
        FileNotFoundError: If a text file does not exist.
        TypeError: If ``source`` is something else.
    """
    if isinstance(source, Vocabulary):
        return source
    if isinstance(source, Path | str):
        words, place = _read_text(source)
    elif isinstance(source, Mapping):
        words, place = _metainfo_classes(source), 'the metainfo'
    elif isinstance(source, Sequence):
        words, place = source, 'the class list'
    else:
        raise TypeError(
            'A vocabulary is a list of names, a text file, the name of a dataset or '
            f'its metainfo, got {type(source).__name__}.')
    words = tuple(_clean(entry, place) for entry in words)
    _check(words, place)
    return Vocabulary(words)


def _read_text(source: str | Path) -> tuple[Sequence, str]:
    """Classes of a file, a command line or a named dataset, and what to call it."""
    path = Path(source).expanduser()
    if path.is_file():
        lines = [line.strip() for line in path.read_text('utf-8-sig').splitlines()]
        return [[word.strip() for word in line.split(';')] for line in lines
                if line and not line.startswith('#')], str(path)
    if isinstance(source, Path) or path.suffix == '.txt':
        raise FileNotFoundError(f'No class list at {source}. Expected a text file, one '
                                'class a line, synonyms after semicolons.')
    if ';' in source or not source.strip():
        return [word for word in source.split(';') if word.strip()], repr(source)
    return [_spaced(name) for name in classes_of(source)], source


def _metainfo_classes(metainfo: Mapping) -> Sequence[str]:
    classes = metainfo.get('classes') or metainfo.get('CLASSES')
    if classes is None:
        raise ValueError(f"The metainfo has no 'classes', only {sorted(metainfo)}.")
    return [_spaced(name) for name in
            ([classes] if isinstance(classes, str) else classes)]


def _clean(entry: str | Sequence[str], place: str) -> tuple[str, ...]:
    """Name and synonyms of a class, white space put right."""
    words = [entry] if isinstance(entry, str) else entry
    if not isinstance(words, Sequence) or not all(isinstance(w, str) for w in words):
        raise TypeError(f'{place}: a class is a name, or a list of a name and '
                        f'synonyms, got {entry!r}.')
    words = [' '.join(word.split()) for word in words]
    if not words or not all(words):
        raise ValueError(f'{place} has a class without a name: {entry!r}.')
    return tuple(words)


def _check(words: tuple[tuple[str, ...], ...], place: str) -> None:
    if not words:
        raise ValueError(f'{place} names no class; expected at least one.')
    seen = {}
    for label, entry in enumerate(words):
        for word in entry:
            other = seen.setdefault(_folded(word), label)
            if other != label or len(set(map(_folded, entry))) < len(entry):
                raise ValueError(
                    f'{place} has {word!r} twice, as label {other} and label {label}: '
                    'their texts would be the same vector. Remove one, or tell them '
                    "apart: 'computer mouse'.")


def _spaced(name: str) -> str:
    """Names of datasets are written with underscores in some libraries."""
    return ' '.join(name.replace('_', ' ').split())


def _folded(name: str) -> str:
    """Names with equal tokens are equal."""
    return ' '.join(name.split()).lower()
