"""Define errors that are shown to the user without a traceback; suggest names."""
import difflib
import os
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user can correct, and the text says how.

    Our tools print the text alone, without a traceback. Combine it with a built-in
    type, as :class:`UserValueError` does.
    """


class UserValueError(UserError, ValueError):
    """Values that do not fit together, or a file that is not what it should be."""


class UserKeyError(UserError, KeyError):
    """A name that is unknown, or names that do not fit together."""

    def __str__(self) -> str:
        # Not as KeyError does it, in quotes.
        return Exception.__str__(self)


class DataError(UserError, RuntimeError):
    """Data of a run are gone, damaged or too few; the message says what to do."""


def closest(name: str, known: Iterable[str], num: int = 1, cutoff: float = 0.6
            ) -> list[str]:
    """Known names that resemble ``name``, the most similar first; case is ignored.

    Args:
        name: What the user wrote.
        known: What could be meant.
        num: Number of names at most.
        cutoff: Similarity in [0, 1] that a name must reach; see :mod:`difflib`.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[lower] for lower in difflib.get_close_matches(
        name.lower(), by_lower, n=num, cutoff=cutoff)]


def within_one_edit(name: str, known: Iterable[str]) -> list[str]:
    """Known names that become ``name`` by one edit; case is ignored.

    An edit (of Damerau and Levenshtein) adds, drops or replaces a letter, or swaps two
    neighbors. Names of fewer than four letters resemble too many others.
    """
    return [candidate for candidate in known if len(name) > 3
            and _one_edit_apart(name.lower(), candidate.lower())]


def _one_edit_apart(one: str, other: str) -> bool:
    start = len(os.path.commonprefix([one, other]))
    one, other = one[start:], other[start:]
    end = len(os.path.commonprefix([one[::-1], other[::-1]]))
    one, other = one[:len(one) - end], other[:len(other) - end]
    return (len(one) < 2 and len(other) < 2
            or len(one) == len(other) == 2 and one == other[::-1])


def did_you_mean(name: str, known: Iterable[str], num: int = 1, cutoff: float = 0.6,
                 otherwise: str = '.') -> str:
    """End of a sentence about an unknown name: ``: did you mean 'x' or 'y'?``

    Args:
        name, known, num, cutoff: See :func:`closest`.
        otherwise: What to return if no known name comes close.
    """
    return suggest(closest(name, known, num, cutoff)) or otherwise


def suggest(names: Iterable[str]) -> str:
    """``: did you mean 'x' or 'y'?`` of these names, '' without any."""
    listed = ' or '.join(repr(name) for name in names)
    return f': did you mean {listed}?' if listed else ''
