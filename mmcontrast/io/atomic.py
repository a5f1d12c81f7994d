"""Write files and folders atomically: they appear complete or not at all."""
import os
import re
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .disk import DiskError, cannot_write

_PARTIAL = re.compile(r'\..+\.(?P<host>[^/]*)-(?P<pid>\d+)\.partial')
# Seconds without a new byte after which nobody is writing a file any more.
_ABANDONED = 3600


@contextmanager
def atomic_write(path: str | Path, needed: int | None = None):
    """Open a temporary file beside ``path`` that replaces it at the end.

    The data are on the disk before the name is, and the name before this returns. If
    writing fails, the old file stays and nothing of the new one.

    Args:
        path: The file.
        needed: Its size in bytes, where known; named if the disk is full.

    Raises:
        DiskError: If it cannot be written.
    """
    path = Path(path).expanduser()
    partial = _partial(path)
    try:
        with _disk_errors(path, partial, needed):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, 'wb') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: str | Path, text: str) -> None:
    r"""Write a UTF-8 text file atomically; see :func:`atomic_write`.

    What is no text, bytes in file names, becomes ``\udce9``, which JSON reads back.
    """
    with atomic_write(path) as file:
        file.write(text.encode('utf-8', 'backslashreplace'))


@contextmanager
def atomic_folder(path: str | Path, overwrite: bool = False):
    """Create a temporary folder beside ``path`` that takes its name at the end.

    If anything fails inside, nothing of it is left.

    Args:
        path: The folder.
        overwrite: Whether an older folder of that name is removed, at the end. Else
            it must be empty.

    Raises:
        DiskError: If it cannot be written, or is there and not empty.
    """
    path = Path(path).expanduser()
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _disk_errors(path, partial):
            partial.mkdir(parents=True)
            yield partial
            for part in (*partial.rglob('*'), partial):
                _sync(part)
            if overwrite:
                shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
            _sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partial_files(folder: str | Path) -> list[Path]:
    """Remove what processes that died while writing left behind in a folder.

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
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path)
    return removed


@contextmanager
def _disk_errors(path: Path, partial: Path, needed: int | None = None):
    """Explain errors of writing; those of something else inside the block pass."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        about = error.filename and Path(os.fsdecode(error.filename))
        if error.errno is None or about and about not in (
                path, *path.parents) and partial not in (about, *about.parents):
            raise
        raise cannot_write(path, error, needed) from error


def _is_dead(path: Path, host: str, pid: int) -> bool:
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _ABANDONED:
            return True
    if host != _host():
        return False
    if pid == os.getpid():
        return True  # In a container every run may have the same pid.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _partial(path: Path) -> Path:
    return path.with_name(f'.{path.name}.{_host()}-{os.getpid()}.partial')


def _host() -> str:
    return socket.gethostname().replace('/', '')


def _sync(path: Path) -> None:
    """Get a file, or the names in a folder, onto the disk, to survive a power cut."""
    # Some systems cannot open folders, some file systems cannot sync them.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
