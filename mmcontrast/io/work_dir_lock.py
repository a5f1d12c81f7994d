"""Let one training at a time write into a work dir."""
import fcntl
import json
import logging
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from mmengine.logging import print_log

from ..errors import UserError
from .disk import FORBIDDEN, FULL, cannot_write

FILE = '.lock'

# Threads of this process that hold a lock, by process and file: locks of the system
# are those of a process.
_HELD: dict[tuple[int, Path], int] = {}


class WorkDirInUse(UserError, RuntimeError):
    """Another training writes into the same work dir."""


@contextmanager
def lock_work_dir(work_dir: str | Path) -> Iterator[None]:
    """Keep other trainings out of a work dir, by the hidden file ``.lock`` in it.

    The operating system releases the lock with the process, however that ends; the file
    stays. The same thread may enter again.

    Raises:
        WorkDirInUse: If another process is in; names it and its host.
    """
    path = Path(work_dir).expanduser().resolve() / FILE
    key, thread = (os.getpid(), path), threading.get_ident()
    if _HELD.get(key) == thread:
        yield
        return
    if key in _HELD:
        # Not to be opened: closing it again would release the lock.
        raise _in_use(work_dir, f'another thread of this process ({os.getpid()}) '
                                'trains there')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lock of fcntl is not inherited by loader processes, which may outlive a
        # killed training by some seconds; one of flock is.
        file = open(path, 'a+b')
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise _in_use(work_dir, _owner(file)) from None
        except OSError as error:
            print_log(f'{path} cannot be locked ({error.strerror}): take care that '
                      'only one training writes there.', 'current', logging.WARNING)
        _HELD[key] = thread
        try:
            _write_owner(path, file)
            yield
        finally:
            del _HELD[key]


def _write_owner(path: Path, file) -> None:
    owner = dict(pid=os.getpid(), host=socket.gethostname(),
                 since=datetime.now().astimezone().isoformat(' ', 'seconds'),
                 command=shlex.join(sys.argv))
    try:
        file.truncate(0)
        file.write(json.dumps(owner).encode(errors='backslashreplace'))
        file.flush()
    except OSError as error:
        if error.errno in (*FULL, *FORBIDDEN):
            raise cannot_write(path, error) from error
        raise


def _owner(file) -> str:
    try:
        file.seek(0)
        owner = json.loads(file.read())
        return (f'process {owner["pid"]} on {owner["host"]} trains there since '
                f'{owner["since"]} ({owner["command"]})')
    except (OSError, ValueError, KeyError, TypeError):
        return 'another process trains there'  # It has just begun.


def _in_use(work_dir: str | Path, who: str) -> WorkDirInUse:
    return WorkDirInUse(
        f'The work dir {work_dir} is in use: {who}. Two runs would write the same '
        'files. Wait for its end or stop it, or choose another --work-dir.')
