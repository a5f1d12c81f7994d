"""Limit the size of a file that is read into memory."""
import os

from ..errors import UserValueError

#: Environment variable of the limit, in MiB.
MAX_FILE_MIB = 'MMCONTRAST_MAX_FILE_MIB'
_DEFAULT = 512


def check_size(name: str, size: int) -> None:
    """Check that a file, unpacked, is no larger than a data set should hold.

    A small archive can hold a file of many GB, which every worker would unpack.

    Args:
        name: The file, for the message.
        size: In bytes.

    Raises:
        UserValueError: If it exceeds the limit, 512 MiB or what the environment
            variable ``MMCONTRAST_MAX_FILE_MIB`` says.
    """
    text = os.environ.get(MAX_FILE_MIB, str(_DEFAULT))
    try:
        limit = float(text)
        if not limit > 0:
            raise ValueError
    except ValueError:
        raise UserValueError(
            f'{MAX_FILE_MIB}={text!r}: expected a number of MiB.') from None
    if size > limit * 2 ** 20:
        raise UserValueError(
            f'{name} has {size / 2 ** 20:,.0f} MiB, more than the {limit:,.0f} MiB '
            f'that one image may have. If it is right, set {MAX_FILE_MIB}.')
