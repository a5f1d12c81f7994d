"""Take typed values out of entries of files, with messages that name the entry."""
import math
from collections.abc import Mapping

from ...errors import UserValueError

_WORDS = {int: 'an integer', str: 'a text', list: 'a list', dict: 'an object'}


def field(entry: object, key: str, kinds: type | tuple[type, ...], place: str):
    """The value of a key.

    Raises:
        UserValueError: If the entry is no object, the key is missing, or its value of
            another type; ``place`` says where it stands.
    """
    if not isinstance(entry, dict):
        raise UserValueError(
            f'{place} must be an object with {key!r}, got {str(entry)[:80]}.')
    value = entry.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = ' or '.join(_WORDS[kind] for kind in (
            kinds if isinstance(kinds, tuple) else (kinds,)))
        found = (f'got {str(value)[:80]!r}' if key in entry else
                 f'which is missing; it has {sorted(map(str, entry))}')
        raise UserValueError(f'{place}: {key!r} must be {expected}, {found}.')
    return value


def id_field(entry: Mapping, key: str, place: str, default: int | str) -> int | str:
    """An id, or ``default`` where the key is missing or null.

    Raises:
        UserValueError: If it is neither an integer nor a text.
    """
    return default if entry.get(key) is None else field(entry, key, (int, str), place)


def flag_field(entry: Mapping, key: str, place: str, default: bool) -> bool:
    """True or false, also as 1 or 0; ``default`` where the key is missing or null.

    Raises:
        UserValueError: If it is anything else, such as the text ``'false'``.
    """
    value = entry.get(key)
    if value is None:
        return default
    if isinstance(value, bool | int) and value in (0, 1):
        return bool(value)
    raise UserValueError(
        f'{place}: {key!r} must be true or false, got {str(value)[:80]!r}.')


def box_field(entry: Mapping, key: str, place: str) -> list[float]:
    """A box of four finite numbers.

    Raises:
        UserValueError: If it is none.
    """
    box = field(entry, key, list, place)
    try:
        if len(box) == 4 and all(map(math.isfinite, box)):
            return box
    except (TypeError, OverflowError):
        pass
    raise UserValueError(f'{place}: {key!r} must be four finite numbers, got '
                         f'{str(box)[:80]}.')
