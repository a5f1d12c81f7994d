"""Find the file that a path in a list means, however the list spells it."""
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from ..io.text_files import display_name

# Encodings of lists that Windows and older Linux write, and of file names on disks.
_ENCODINGS = ('cp1252', 'latin-1', 'cp437', 'gb18030', 'shift_jis', 'cp1251')
# So many of the listed files are looked for at the start, and if none is found.
_LOOKED_FOR = 16, 10_000


class ListedPaths:
    """Make full paths out of the paths in a list.

    A plain path is joined without a look at the disk. One with a backslash or a letter
    beyond ASCII may be spelled for Windows, in another encoding or another Unicode
    form: the spelling whose file exists is taken, else the path as it is.

    Args:
        join: Makes the full path of a relative one.
        exists: Whether there is a file at a full path.
    """

    def __init__(self, join: Callable[[str], str], exists: Callable[[str], bool]
                 ) -> None:
        self.join, self.exists = join, exists
        # Whether backslashes are known to stand for slashes, in the whole list.
        self._is_windows = False

    def __call__(self, path: str) -> str:
        if self._is_windows:
            path = path.replace('\\', '/')
        full = self.join(path)
        if path.isascii() and '\\' not in path:
            return full
        for spelling in dict.fromkeys(spellings(path)):
            other = self.join(spelling)
            if self.exists(other):
                self._is_windows |= spelling == path.replace('\\', '/') != path
                return other
        return full


def spellings(path: str) -> Iterator[str]:
    """Paths that a path in a list may mean; itself first."""
    yield path
    for slashed in dict.fromkeys((path, path.replace('\\', '/'))):
        yield slashed
        if not slashed.isascii():
            yield from _decoded_otherwise(slashed)
    if '\\x' in path:  # as our own lists write names that are no UTF-8
        yield os.fsdecode(re.sub(
            rb'\\x([0-9a-f]{2})', lambda match: bytes.fromhex(match[1].decode()),
            os.fsencode(path)))


def check_found(paths: Sequence[str], list_file: str, exists: Callable[[str], bool]
                ) -> None:
    """Check at the start that a list fits the folder: a few of its files must exist.

    Args:
        paths: Full paths, in the order of the list.
        list_file: For the message.
        exists: Whether there is a file at a full path.

    Raises:
        FileNotFoundError: If none of those that are looked for exists.
    """
    for count in _LOOKED_FOR:
        looked_for = paths[::max(1, len(paths) // count)]
        if any(map(exists, looked_for)):
            return
    first = looked_for[0]
    raise FileNotFoundError(
        f'{list_file}: none of {len(looked_for)} files that it lists exists, the first '
        f"is '{display_name(first)}'{_hint(first, exists)}. Expected one path per line "
        '(then a tab and a label), below data_root and data_prefix; are these right, '
        'and is their disk mounted?')


def _decoded_otherwise(path: str) -> Iterator[str]:
    yield unicodedata.normalize('NFC', path)
    yield unicodedata.normalize('NFD', path)
    for encoding in _ENCODINGS:
        try:
            # A list that is no UTF-8, on a disk that is; then the other way round.
            yield os.fsencode(path).decode(encoding)
            yield os.fsdecode(path.encode(encoding))
        except UnicodeError:
            continue


def _hint(first: str, exists: Callable[[str], bool]) -> str:
    """What may be wrong with the first path, where that can be told."""
    for suffix in ('.jpg', '.JPG', '.JPEG', '.jpeg', '.png'):
        if exists(first + suffix):
            return f'; {first + suffix} does exist: write names with their suffix'
    if any('\udc80' <= letter <= '\udcff' for letter in first):
        return ('; the list is no UTF-8 text there: save it as UTF-8 (iconv -f latin1 '
                '-t utf-8, or what it is in)')
    if '\\' in first:
        return '; it has backslashes, which only Windows takes for folders'
    return ''
