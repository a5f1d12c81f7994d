"""Index the images of tar shards in one table, kept in a file beside them."""
import fcntl
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields

import numpy as np
from mmengine.logging import print_log

from ...io.atomic import atomic_write
from ...progress import track
from .tar_headers import NO_LABEL, ShardContent, scan_shard

_FORMAT = 2
# With fewer shards, reading the headers needs no progress bar.
_MIN_BAR = 20


@dataclass(frozen=True)
class ImageTable(Sequence):
    """Locations of all images of a set of shards; about 80 bytes per image.

    A sequence of ``dict(img_path='SHARD.tar/MEMBER', shard='SHARD.tar', offset=...,
    size=...)``, with an integer ``label`` where the sample has one, and with ``txt``
    and ``json`` where the table has them. Dictionaries are made on access: many
    millions of them would not fit in memory.

    Attributes:
        shards: Paths of the shards.
        shard: (N,) which shard holds the image.
        offset, size: (N,) bytes of the image file in its shard.
        label: (N,) from the ``.cls`` of the sample, ``NO_LABEL`` without one.
        txt, json: (N, 2) offset and size of the texts of the sample, ``NO_MEMBER``
            without one; None in a table without texts. 32 bytes more per image.
        names: Names of the members, UTF-8, concatenated.
        name_start, name_end: (N,) where in ``names`` each lies.
    """

    shards: tuple[str, ...]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    label: np.ndarray
    names: np.ndarray
    name_start: np.ndarray
    name_end: np.ndarray
    txt: np.ndarray | None = None
    json: np.ndarray | None = None

    @classmethod
    def join(cls, contents: dict[str, ShardContent], with_texts: bool = False
             ) -> 'ImageTable':
        """The table of shards, given the content of each by its path."""
        parts = list(contents.values())
        before = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
        ends = [p.name_end + start for p, start in zip(parts, before, strict=True)]
        starts = [np.r_[start, end][:len(end)]
                  for end, start in zip(ends, before, strict=True)]
        return cls(
            shards=tuple(contents),
            shard=np.repeat(np.arange(len(parts)), [len(p.offset) for p in parts]),
            name_start=np.concatenate(starts), name_end=np.concatenate(ends),
            **{name: np.concatenate([getattr(part, name) for part in parts])
               for name in ('offset', 'size', 'label', 'names',
                            *(('txt', 'json') if with_texts else ()))})

    def __len__(self) -> int:
        return len(self.shard)

    def __getitem__(self, idx: int | slice) -> 'dict | ImageTable':
        if isinstance(idx, slice):
            return self.take(np.arange(len(self))[idx])
        name = self.names[self.name_start[idx]:self.name_end[idx]].tobytes()
        shard = self.shards[self.shard[idx]]
        info = dict(img_path=f'{shard}/{name.decode("utf-8", "backslashreplace")}',
                    shard=shard, offset=int(self.offset[idx]), size=int(self.size[idx]))
        if self.label[idx] != NO_LABEL:
            info['label'] = int(self.label[idx])
        if self.txt is not None:
            info |= dict(txt=tuple(self.txt[idx].tolist()),
                         json=tuple(self.json[idx].tolist()))
        return info

    def __deepcopy__(self, memo: dict) -> 'ImageTable':
        return self  # never written to

    def take(self, indices: Sequence[int]) -> 'ImageTable':
        """The table of some of the images."""
        rows = {field.name: getattr(self, field.name)[indices] for field in fields(self)
                if field.name not in ('shards', 'names')
                and getattr(self, field.name) is not None}
        return ImageTable(shards=self.shards, names=self.names, **rows)

    def shard_starts(self) -> np.ndarray:
        """Indices at which the images of another shard begin; the first is 0."""
        return np.flatnonzero(np.diff(self.shard, prepend=-1))


def read_table(shards: Sequence[str], suffixes: Sequence[str],
               index_file: str | None = None, progress: bool = True,
               with_texts: bool = False) -> ImageTable:
    """The images of all shards, in the order of the shards and of their members.

    The headers of a shard are read once and kept in ``index_file`` until the shard
    changes. Processes of one machine take turns, so that only one reads them.

    Args:
        shards: Paths.
        suffixes: File name endings that count as images, in any case.
        index_file: File of the table; by default beside the first shard. If it is not
            writable, headers are read at every start, with a warning.
        progress: Show a progress bar if many shards must be read.
        with_texts: Whether the table locates the texts of the samples, too. The index
            file always does; one of an earlier version is replaced.

    Raises:
        ValueError: If a shard is not a complete tar, or none holds an image.
    """
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    file = index_file or default_index_file(shards)
    with _in_turn(shards[0]):
        known = _load(file, suffixes)
        contents = {path: known.get(_version(path, file)) for path in shards}
        new = [path for path, content in contents.items() if content is None]
        for path in track(new, 'headers of the shards',
                          progress and len(new) >= _MIN_BAR):
            contents[path] = scan_shard(path, suffixes)
        if new:
            _save(file, suffixes, contents)
    table = ImageTable.join(contents, with_texts)
    if not len(table):
        raise ValueError(
            f'No image in the {len(shards)} shards from {shards[0]} on: no member ends '
            f'in {" ".join(suffixes)} (upper or lower case).')
    return table


def default_index_file(shards: Sequence[str]) -> str:
    """Beside the first shard: ``train-000000.100-shards.npz``."""
    return f'{os.path.splitext(shards[0])[0]}.{len(shards)}-shards.npz'


@contextmanager
def _in_turn(path: str) -> Iterator[None]:
    with ExitStack() as stack:
        # Some network file systems have no locks: then every process reads the headers.
        with suppress(OSError):
            file = stack.enter_context(open(path, 'rb'))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version(path: str, index_file: str) -> tuple[str, int, int]:
    """Changes if a shard is rewritten or moved away from its index."""
    stat = os.stat(path)
    name = os.path.relpath(path, os.path.dirname(index_file) or '.')
    return name, stat.st_size, stat.st_mtime_ns


def _load(file: str, suffixes: tuple[str, ...]) -> dict[tuple, ShardContent]:
    """Contents of an index file, by the version of the shard."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if stored['format'] != _FORMAT or tuple(stored['suffixes']) != suffixes:
                return {}
            return _split(dict(stored))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        print_log(f'{file} cannot be used ({error}): the headers of the shards are '
                  'read again.', logger='current', level=logging.WARNING)
        return {}


def _split(stored: dict) -> dict[tuple, ShardContent]:
    cuts = dict.fromkeys(('offset', 'size', 'label', 'txt', 'json', 'name_end'),
                         stored['num_images'])
    cuts['names'] = stored['num_letters']
    columns = {name: np.split(stored[name], np.cumsum(counts)[:-1])
               for name, counts in cuts.items()}
    versions = zip(*(stored[name].tolist() for name in ('shards', 'bytes', 'times')),
                   strict=True)
    return {version: ShardContent(**{n: column[k] for n, column in columns.items()})
            for k, version in enumerate(versions)}


def _save(file: str, suffixes: tuple[str, ...], contents: dict[str, ShardContent]
          ) -> None:
    parts = list(contents.values())
    names, sizes, times = zip(*(_version(p, file) for p in contents), strict=True)
    columns = {field.name: np.concatenate([getattr(p, field.name) for p in parts])
               for field in fields(ShardContent)}
    try:
        with atomic_write(file) as out:
            np.savez(out, format=_FORMAT, suffixes=suffixes, shards=names, bytes=sizes,
                     times=times, num_images=[len(p.offset) for p in parts],
                     num_letters=[len(p.names) for p in parts], **columns)
    except OSError as error:
        print_log(f'The table of the shards cannot be kept in {file} ({error}): their '
                  'headers are read again at every start. Set index_file of the '
                  'dataset to a writable path.', logger='current',
                  level=logging.WARNING)
