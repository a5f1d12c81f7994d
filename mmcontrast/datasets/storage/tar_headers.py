"""Locate the images of a tar shard, and their texts, from its headers."""
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO, NamedTuple

import numpy as np

NO_LABEL = int(np.iinfo(np.int64).min)
#: (offset, size) of a text that a sample does not have.
NO_MEMBER = (-1, 0)
_BLOCK = 512
_END_MARK = bytes(2 * _BLOCK)
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd')
_WHAT_TO_DO = 'Copy or write this shard again, or leave it out of shards.'


@dataclass(frozen=True)
class ShardContent:
    """The images of one shard, in the order of the file.

    Attributes:
        offset, size: (N,) bytes of the image files.
        label: (N,) integers in the ``.cls`` of the samples, ``NO_LABEL`` without one.
        txt, json: (N, 2) offset and size of the ``.txt`` and the ``.json`` member of
            the samples, ``NO_MEMBER`` without one.
        names: Names of the members, UTF-8, concatenated.
        name_end: (N,) where in ``names`` each ends.
    """

    offset: np.ndarray
    size: np.ndarray
    label: np.ndarray
    txt: np.ndarray
    json: np.ndarray
    names: np.ndarray
    name_end: np.ndarray


def scan_shard(path: str, suffixes: Sequence[str]) -> ShardContent:
    """Read the headers of a shard, without its images and texts.

    Args:
        suffixes: Endings of images, lower case. A sample gives the image whose ending
            comes first in them.

    Raises:
        ValueError: If the file cannot be read, or is not a complete, plain tar.
    """
    try:
        with open(path, 'rb') as file:
            members = list(_members(file, path))
    except OSError as error:
        raise ValueError(f'Shard {path} cannot be read: {error}. {_WHAT_TO_DO}'
                         ) from None
    images, labels = [], []
    texts = {'.txt': [], '.json': []}
    for _, group in groupby(members, key=lambda member: member.sample):
        group = list(group)
        found = _images_of_sample(group, suffixes)
        images += found
        labels += [max(member.label for member in group)] * len(found)
        for ending, places in texts.items():
            places += [_text_of_image(image, group, ending) for image in found]
    names = [member.name.encode('utf-8', 'surrogateescape') for member in images]
    return ShardContent(
        offset=np.array([member.offset for member in images], np.int64),
        size=np.array([member.size for member in images], np.int64),
        label=np.array(labels, np.int64),
        txt=np.array(texts['.txt'], np.int64).reshape(-1, 2),
        json=np.array(texts['.json'], np.int64).reshape(-1, 2),
        names=np.frombuffer(b''.join(names), np.uint8),
        name_end=np.cumsum([len(name) for name in names], dtype=np.int64))


def split_member(name: str) -> tuple[str, str]:
    """Sample and ending of a member: the file name is split at its first dot.

    WebDataset's rule: ``n01/12.seg.png`` is the ``.seg.png`` of the sample ``n01/12``.
    """
    folder, slash, file = name.rpartition('/')
    stem, dot, ending = file.partition('.')
    return f'{folder}{slash}{stem}', f'{dot}{ending}'.lower()


class _Member(NamedTuple):
    sample: str
    ending: str
    name: str
    offset: int
    size: int
    label: int


def _members(file: BinaryIO, path: str) -> Iterator[_Member]:
    """The regular files of a tar; an error if the end mark is missing."""
    last = None
    try:
        with tarfile.open(fileobj=file, mode='r:', encoding='utf-8') as tar:
            for last in tar:
                sample, ending = split_member(last.name)
                if last.isreg():
                    label = _label(tar, last) if ending == '.cls' else NO_LABEL
                    yield _Member(sample, ending, last.name, last.offset_data,
                                  last.size, label)
            end = tar.offset
    except tarfile.TarError as error:
        raise ValueError(_not_a_tar(path, file, last, error)) from None
    # tarfile takes a damaged header for the end of the archive.
    file.seek(end)
    mark = file.read(len(_END_MARK))
    if len(mark) < len(_END_MARK):
        raise ValueError(_cut_short(path, last, end, end + len(mark)))
    if mark != _END_MARK:
        raise ValueError(
            f'{path} is damaged: at byte {end:,}, after member '
            f'{last.name if last else None!r}, stands neither a header nor the end '
            f'mark. {_WHAT_TO_DO}')


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    try:
        return int(tar.extractfile(member).read(64))
    except ValueError:
        return NO_LABEL


def _images_of_sample(members: list[_Member], suffixes: Sequence[str]
                      ) -> list[_Member]:
    by_ending = {member.ending: member for member in members}
    found = [by_ending[suffix] for suffix in suffixes if suffix in by_ending]
    if found:
        return found[:1]
    # Names with more dots, such as my.holiday.jpg: take each rather than none.
    return [member for member in members if member.ending.endswith(tuple(suffixes))
            and not member.name.rpartition('/')[2].startswith('.')]


def _text_of_image(image: _Member, group: list[_Member], ending: str
                   ) -> tuple[int, int]:
    """Place of the member that has the name of an image and another suffix."""
    same = os.path.splitext(image.ending)[0] + ending
    # x.seg.png has the text x.txt, unless there is an x.seg.txt.
    for wanted in (same, ending):
        for member in group:
            if member.ending == wanted:
                return member.offset, member.size
    return NO_MEMBER


def _cut_short(path: str, last: tarfile.TarInfo | None, end: int, have: int) -> str:
    return (f'{path} is cut short: up to the member {last.name if last else None!r} '
            f'and the end mark it needs {end + len(_END_MARK):,} bytes or more, the '
            f'file has {have:,}. {_WHAT_TO_DO}')


def _not_a_tar(path: str, file: BinaryIO, last: tarfile.TarInfo | None,
               error: Exception) -> str:
    have = os.fstat(file.fileno()).st_size
    if last is not None:
        end = last.offset_data + -(-last.size // _BLOCK) * _BLOCK
        if end > have:
            return _cut_short(path, last, end, have)
        return f'{path} is damaged after member {last.name!r} ({error}). {_WHAT_TO_DO}'
    file.seek(0)
    if file.read(6).startswith(_COMPRESSED):
        return (f'{path} is compressed. Shards must be plain .tar, so that one image '
                'can be read alone: unpack it once (gunzip, bunzip2, unxz, unzstd).')
    return f'{path} ({have:,} bytes) is no tar archive: {error}. {_WHAT_TO_DO}'
