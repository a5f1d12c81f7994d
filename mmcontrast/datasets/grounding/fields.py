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
