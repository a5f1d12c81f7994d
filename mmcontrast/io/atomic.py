"""Files that appear whole or not at all."""
import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .disk import DiskError, cannot_write

_PARTIAL = re.compile(r'\..+\.(?P<host>[^/]*)-(?P<pid>\d+)\.partial')
# Nobody writes one file for so long without a byte reaching it.
_ABANDONED = 3600


@contextmanager
def atomic_write(path: str | Path, needed: int | None = None):
    """Open a neighbor of ``path`` for writing that takes its place at the end.

    The data are on the disk before the name is, and the name before this returns. If
    writing fails the old file stays, and nothing of the new one.

    Args:
        path: The file.
        needed: Its size in bytes, where known; named if the disk is full.

    Raises:
        DiskError: If it cannot be written.
    """
    path = Path(path).expanduser()
    partial = path.with_name(f'.{path.name}.{_host()}-{os.getpid()}.partial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except DiskError:
        raise
    except OSError as error:
        about = error.filename and Path(os.fsdecode(error.filename))
        if about and about not in (partial, path, *path.parents):
            raise  # Something else that was done meanwhile.
        raise cannot_write(path, error, needed) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def remove_partial_files(folder: str | Path) -> list[Path]:
    """Remove what processes that died while writing left in a folder.

    Files of a process that is alive on this machine stay; those of another machine
    stay for an hour after the last byte was written.

    Returns:
        What was removed.
    """
    removed = []
    for path in sorted(Path(folder).glob('.*.partial')):
        match = _PARTIAL.fullmatch(path.name)
        if match and _is_dead(path, match['host'], int(match['pid'])):
            with suppress(OSError):
                path.unlink()
                removed.append(path)
    return removed


def _is_dead(path: Path, host: str, pid: int) -> bool:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _ABANDONED:
            return True
    if host != _host():
        return False
    if pid == os.getpid():
        return True  # In a container every run may have the same number.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _host() -> str:
    return socket.gethostname().replace('/', '')


def _sync_folder(folder: Path) -> None:
    """A new name survives a power cut only when its folder is on the disk too."""
    # Some systems cannot open folders, some file systems cannot sync them.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
