"""Read a pickle of plain values: lists, dicts, numbers and text, nothing else."""
import pickle
from pathlib import Path

from ..errors import UserValueError


def read_plain_pickle(path: str | Path) -> object:
    """The content of a pickle, of which nothing is executed.

    For annotation files that were published as pickles, such as the ``refs(unc).p`` of
    RefCOCO, also those of Python 2.

    Raises:
        FileNotFoundError: If there is no such file.
        UserValueError: If it is damaged or no pickle, or holds anything but plain
            values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'No file at {path}.')
    try:
        with open(path, 'rb') as file:
            return _PlainUnpickler(file, encoding='utf-8', errors='replace').load()
    except _NotPlainError as error:
        raise UserValueError(
            f'{path} holds {error}, which is code and not data; nothing was executed. '
            'Expected lists, dicts, numbers and text. If you trust its author, load it '
            'where it was written and save it as JSON.') from None
    except Exception as error:  # Damaged bytes raise anything, MemoryError too.
        raise UserValueError(
            f'{path} cannot be read: it is damaged or no pickle '
            f'({type(error).__name__}: {error}). Copy it again from where it was '
            'published.') from error


class _NotPlainError(Exception):
    """A pickle asks for a class or function."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds no object of any class, and calls nothing."""

    def find_class(self, module: str, name: str):
        raise _NotPlainError(f'{module}.{name}')

    def persistent_load(self, pid):
        raise _NotPlainError(f'a reference to {str(pid)[:60]!r}')
