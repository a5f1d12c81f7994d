"""Check numbers that a tool was given."""
from numbers import Real

from ...errors import UserValueError


def check_numbers(least: float, **values: float | None) -> None:
    """Check that arguments are at least so large; None stands for no value.

    Raises:
        UserValueError: With the first that is not.
    """
    for name, value in values.items():
        # Also true for NaN.
        if value is not None and not (isinstance(value, Real) and value >= least):
            raise UserValueError(f'{name} must be {least} or more, got {value!r}.')


def check_shares(**values: float) -> None:
    """Check that arguments are in [0, 1].

    Raises:
        UserValueError: With the first that is not.
    """
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 <= value <= 1):
            raise UserValueError(f'{name} must be in [0, 1], got {value!r}.')
