"""Build and parse addresses of files inside archives: ``zip://ARCHIVE@/PATH``."""
import os
import re

_SCHEMES = {'.zip': 'zip', '.lmdb': 'lmdb'}
_SEPARATOR = '@/'


def archive_scheme(path: str) -> str | None:
    """'zip' or 'lmdb' by the suffix of a path; None for a folder."""
    return _SCHEMES.get(os.path.splitext(path)[1].lower())


def archive_address(archive: str, inside: str) -> str:
    """Address of a file in an archive, e.g. ``zip://data/train.zip@/n01/a.jpg``."""
    return f'{archive_scheme(archive)}://{archive}{_SEPARATOR}{inside}'


def split_address(address: str) -> tuple[str, str]:
    """Archive and path inside of an address made by :func:`archive_address`.

    Raises:
        ValueError: If it does not name a path inside of an archive.
    """
    # A folder may end in '@', as may one in the archive.
    found = re.fullmatch(rf'\w+://(.*?\.(?:zip|lmdb)){_SEPARATOR}(.*)', str(address),
                         re.IGNORECASE | re.DOTALL)
    if not found:
        raise ValueError(
            f'{address!r} is no address in an archive; expected '
            f"'zip://ARCHIVE.zip{_SEPARATOR}PATH' or "
            f"'lmdb://DATABASE.lmdb{_SEPARATOR}KEY'.")
    return found[1], found[2]
