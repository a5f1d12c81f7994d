"""Read text that users bring, in whatever encoding, and write any file name as text.

The only place that decodes lists, tables and class names.
"""
import codecs
import os
from pathlib import Path

from mmengine.fileio import get

from ..errors import UserValueError
from .file_kinds import stand_in

# The marks of UTF-32 begin like those of UTF-16.
_MARKS = {codecs.BOM_UTF8: 'utf-8-sig', codecs.BOM_UTF32_LE: 'utf-32',
          codecs.BOM_UTF32_BE: 'utf-32', codecs.BOM_UTF16_LE: 'utf-16',
          codecs.BOM_UTF16_BE: 'utf-16'}
# Bytes that tell whether a text without a mark is UTF-16.
_HEAD = 4096


def read_text(path: str | Path, encoding: str | None = None,
              errors: str = 'strict') -> str:
    """The text of a file, local or of a storage backend; see :func:`decode_text`."""
    if os.path.isdir(path):
        raise UserValueError(f'{path} is a folder; expected a text file.')
    return decode_text(get(str(path)), str(path), encoding, errors)


def decode_text(data: bytes, name: str, encoding: str | None = None,
                errors: str = 'strict', hint: str = '') -> str:
    """Text of the bytes of a file.

    Without ``encoding``, a byte order mark says which of UTF-8, UTF-16 and UTF-32 it
    is; without a mark it is UTF-8, or UTF-16 if every other byte is zero.

    Args:
        data: The file.
        name: Its name, for messages.
        encoding: The encoding, where the user knows it.
        errors: 'surrogateescape' keeps bytes that are no text, for file names.
        hint: What else the user can do if it is no such text, ``' Or ...'``.

    Raises:
        UserValueError: If it is no such text; names file, line and encoding.
    """
    encoding = encoding or _encoding(data)
    if what := stand_in(data):
        raise UserValueError(f'{name} is {what}. Expected a text file.')
    if encoding == 'utf-8' and b'\0' in data[:_HEAD]:
        raise UserValueError(
            f'{name} is no text: it holds zero bytes, as images and archives do. '
            'Expected a text file, best UTF-8.')
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        before = data[:error.start]
        line = data[before.rfind(b'\n') + 1:].split(b'\n', 1)[0].strip()
        shown = line[:60].decode(encoding, 'backslashreplace')
        number = before.count(b'\n') + 1
        raise UserValueError(
            f"{name}, line {number}: '{shown}' is not {encoding} text ({error.reason}, "
            f'byte 0x{data[error.start]:02x}). Save the file as UTF-8: iconv -f latin1 '
            f'-t utf-8 {name} (latin1, or what it is in).{hint}'
        ) from None
    except LookupError:
        raise UserValueError(f'{name}: no encoding is called {encoding!r}; expected '
                             "one of Python's, such as 'utf-8' or 'latin-1'.") from None


def split_lines(text: str) -> list[str]:
    """Lines of a text that end as on Linux, Windows or an old Mac.

    Not ``str.splitlines``, which also splits at characters that may stand in file
    names and captions, such as U+2028.
    """
    return text.replace('\r\n', '\n').replace('\r', '\n').split('\n')


def display_name(name: str | Path) -> str:
    r"""A file name as text that can be printed and written.

    Names are bytes; those that are no UTF-8 are shown as in a shell, ``caf\xe9.jpg``.
    """
    try:
        return os.fsencode(name).decode('utf-8', 'backslashreplace')
    except UnicodeEncodeError:  # half a character, from JSON
        return str(name).encode('utf-8', 'backslashreplace').decode()


def _encoding(data: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding
    head = data[:_HEAD]
    zeros = head[::2].count(0), head[1::2].count(0)
    # Mostly Latin letters, of which every other byte is zero.
    if max(zeros) > len(head) // 4 and not min(zeros):
        return 'utf-16-be' if zeros[0] else 'utf-16-le'
    return 'utf-8'
