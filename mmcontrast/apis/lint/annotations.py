"""Does a value fit an annotation? Only where there is no doubt that it does not."""
import collections.abc
import types
import typing
from collections.abc import Mapping

from torch import Tensor

from .signature import ANYTHING

SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable,
             collections.abc.Collection)
NUMBERS = (int, float)


def fits(value: object, hint: object, exact: bool = True) -> bool:
    """Whether ``value`` may be meant by the annotation ``hint``.

    A list is a tuple, a whole number a float, a flag a number; None and whatever a
    config cannot spell out (classes, arrays, callables) fit everywhere.

    Args:
        exact: False for code whose annotations are known to be too narrow: one number
            for a list of them, several for one, a fraction for a whole number all pass.
    """
    if value is None or hint is ANYTHING or hint is typing.Any:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part, exact) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return False
    kind = origin or hint
    if kind in SEQUENCES:
        return _fits_sequence(value, typing.get_args(hint), exact)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return not isinstance(value, (str, *NUMBERS))
    if kind is Tensor:
        return not isinstance(value, str | Mapping)
    if kind in (bool, int, float, str):
        return _fits_plain(value, kind, exact)
    return True


def _fits_plain(value: object, kind: type, exact: bool) -> bool:
    if kind is str:
        # Numbers stand beside names ('dynamic' or 512.) where only str is written.
        return not isinstance(value, list | tuple | Mapping)
    if isinstance(value, str | Mapping):
        return False
    if isinstance(value, list | tuple):
        return not exact and kind is not bool and all(
            _fits_plain(item, kind, exact) for item in value)
    if kind is int and exact and isinstance(value, float):
        return value.is_integer()
    return True


def _fits_sequence(value: object, args: tuple, exact: bool) -> bool:
    if isinstance(value, NUMBERS):
        return not exact and str not in args and not isinstance(value, bool)
    if isinstance(value, str):
        # A string is a sequence of strings, but never meant as one.
        return False
    # Of the items only this much is certain: text is no number.
    numbers = bool(args) and all(hint in (*NUMBERS, Ellipsis) for hint in args)
    return not (numbers and isinstance(value, list | tuple)
                and any(isinstance(item, str) for item in value))


def spoken(hint: object) -> str:
    """``int | float`` for people."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        return ' or '.join(dict.fromkeys(
            spoken(part) for part in parts if part is not type(None)))
    if origin is typing.Literal:
        return 'one of ' + ', '.join(map(repr, typing.get_args(hint)))
    if isinstance(hint, type) and origin is None:
        return hint.__name__
    return str(hint).replace('typing.', '')
