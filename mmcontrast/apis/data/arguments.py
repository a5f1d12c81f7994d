"""Check numbers that a tool was given."""
from ...errors import UserValueError


def check_numbers(least: float, **values: float | None) -> None:
    """Check that arguments are at least so large; None stands for no value.

    Raises:
        UserValueError: With the first that is not.
    """
    for name, value in values.items():
        # Also true for NaN.
        if value is not None and not value >= least:
            raise UserValueError(f'{name} must be {least} or more, got {value}.')


def check_shares(**values: float) -> None:
    """Check that arguments are in [0, 1].

    Raises:
        UserValueError: With the first that is not.
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserValueError(f'{name} must be in [0, 1], got {value}.')
