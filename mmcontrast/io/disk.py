"""Check free space and write permission, and explain why a file cannot be written."""
import errno
import shutil
import uuid
from pathlib import Path

from ..errors import UserError
from .text_files import display_name

# errno values: no space left, or none for this user; no permission.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class DiskError(UserError, OSError):
    """A file or folder that cannot be written; the message says why and what to do."""


def cannot_write(path: str | Path, error: OSError,
                 needed: int | None = None) -> DiskError:
    """The error to raise when writing ``path`` failed with ``error``.

    Args:
        path: The file or folder that was to be written.
        error: From the operating system.
        needed: Bytes that the file takes, where known.
    """
    size = '' if needed is None else f', {mebibytes(needed)} are needed'
    text = f'{path} could not be written: {error.strerror or error}'
    if error.errno in FULL:
        text += (f'. {_free_text(path)} free there{size}. Free some space (or raise '
                 'the quota or file size limit), or choose another --work-dir')
    elif error.errno in FORBIDDEN:
        text += ('. Give this user the right to write there, or choose another '
                 '--work-dir')
    else:
        text += size
    return DiskError(f'{text}.')


def check_room(path: str | Path, needed: int) -> None:
    """Check that a file of ``needed`` bytes fits on the disk of ``path``.

    Raises:
        DiskError: Otherwise. Quotas only show when the file is written.
    """
    free = _free(path)
    if free is not None and free < needed:
        raise cannot_write(path, OSError(errno.ENOSPC, 'too little space'), needed)


def check_work_dir(work_dir: str | Path) -> None:
    """Create a folder and check that a file can be written in it.

    Raises:
        DiskError: If that is impossible: a file in the way, no permission, a
            read-only or full disk, a name that is no UTF-8.
    """
    folder = Path(work_dir).expanduser()
    if display_name(folder) != str(folder):
        # mmengine writes it as text into last_checkpoint.
        raise DiskError(f'The name of the work dir {display_name(folder)} is no UTF-8. '
                        'Rename it, or choose another --work-dir.')
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise DiskError(
                f'The work dir {work_dir} cannot be a folder: {part} is a file. Move '
                'it away, or choose another --work-dir.')
    probe = folder / f'.can_write.{uuid.uuid4().hex}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(probe, 'wb') as file:
                file.write(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def mebibytes(size: float) -> str:
    """``12.3 MiB``."""
    return f'{size / 2**20:.1f} MiB'


def _free(path: str | Path) -> int | None:
    """Bytes that this user may still write where ``path`` lies; None if unknown."""
    folder = Path(path).expanduser().absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    # Some network file systems answer zero for everything.
    return usage.free if usage.total else None


def _free_text(path: str | Path) -> str:
    free = _free(path)
    return 'An unknown number of bytes are' if free is None else (
        f'{mebibytes(free)} are')
