"""Errors whose text is all that a user needs."""


class UserError(Exception):
    """Something that the user can put right, and the text says how.

    Our tools print the text alone, without a traceback. For classes of a more telling
    type beside it.
    """


class UserValueError(UserError, ValueError):
    """Values that do not fit together, or a file that is not what it should be."""


class UserKeyError(UserError, KeyError):
    """Names that do not fit together."""

    def __str__(self) -> str:
        # Not as KeyError does it, in quotes.
        return Exception.__str__(self)
