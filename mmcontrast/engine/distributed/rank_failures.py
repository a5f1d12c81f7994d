"""A rank that fails takes the run down within seconds, its own message first."""
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util

from mmengine.dist import get_world_size
from mmengine.logging import MMLogger, print_log
from torch import distributed as dist

from .consistency import RankMismatchError, check_rank_consistency
from .rank_links import Notice, RankLinks

__all__ = ['AgreedExit', 'RankFailed', 'RankMismatchError', 'check_rank_consistency',
           'rank_failures', 'start_failure_detection']

# How long a process may take to leave by itself once another one has failed.
GRACE = 3.0
# A traceback may be of any length; the end of it says most.
MOST_TRACE = 20_000
# How a RuntimeError reads that only says that another process is gone.
_ECHOES = ('gloo', 'nccl', 'connection closed', 'connection reset', 'broken pipe',
           'tcpstore')


class AgreedExit(SystemExit):
    """An exit that all ranks take together; no failure."""


class RankFailed(SystemExit):
    """Another rank failed, which is told in the log; ends the process with status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(1)
        self.message = message

    def __str__(self) -> str:
        return self.message


def start_failure_detection() -> None:
    """Notice from now on when another rank fails or dies; collective.

    A process that cannot leave by itself, because it waits for the other one, is ended
    with status 1 and a message that names the rank and its exception. One that ends
    normally is not missed. Without a process group, and the second time, nothing
    happens.
    """
    global _watch
    if _watch is None and get_world_size() > 1:
        _watch = _FailureDetector()
        # Also runs in the processes of multiprocessing, where atexit does not.
        util.Finalize(None, _stop_detection, exitpriority=100)


@contextmanager
def rank_failures() -> Iterator[None]:
    """Tell the other ranks of an exception that leaves this block, ``sys.exit`` too.

    Where the exception only echoes the failure of another rank, that one is named
    instead. After the block ranks may come and go as they like.

    Raises:
        RankFailed: If another rank failed first.
    """
    global _inside
    if _inside:
        yield
        return
    _inside = True
    try:
        start_failure_detection()
        yield
    except AgreedExit:
        raise
    except BaseException as error:
        if _watch is not None:
            _watch.leave(error)
        raise
    finally:
        _inside = False
        _stop_detection()


class _FailureDetector:
    """What one process knows of the others, and does about it."""

    def __init__(self) -> None:
        global _meetings
        self.failed, self.leaving = threading.Event(), threading.Event()
        # A restart by torchrun meets at the store of the attempt before.
        attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
        _meetings += 1
        self.links = None
        try:
            self.links = RankLinks(
                f'mmcontrast/rank_links/{attempt}/{_meetings}', self._on_notice)
        except OSError as error:
            print_log(
                'The ranks cannot watch each other, so that a failing one will show '
                f'only by a time-out of the others: {error}. They connect to a free '
                'port of the host of rank 0; does a firewall forbid it?',
                'current', logging.WARNING)
        self.excepthook, sys.excepthook = sys.excepthook, self._uncaught

    def leave(self, error: BaseException) -> None:
        """Tell why this rank ends; raises if another one is the reason."""
        if self.links is None:
            return
        self.leaving.set()
        if self._is_echo(error):
            # Its cause is on the way, if it is not here yet.
            self.failed.wait(GRACE)
        if self.failed.is_set():
            message = self._describe(self.links.notice)
            _say(message)
            raise RankFailed(message) from None
        line = traceback.format_exception_only(error)[-1].strip()
        if isinstance(error, SystemExit):
            line = f'it left with sys.exit({error.code!r})'
        _say(f'{self._name(self.links.rank, self.links.place)} failed: {line}')
        self.links.tell(line, ''.join(traceback.format_exception(error))[-MOST_TRACE:])

    def close(self) -> None:
        """Part from the others in peace, unless this rank has failed."""
        self.leaving.set()
        if self.links is not None:
            self.links.close()
        if sys.excepthook == self._uncaught:
            sys.excepthook = self.excepthook

    def _on_notice(self, notice: Notice) -> None:
        # In the thread of the links.
        self.failed.set()
        if not self.leaving.wait(GRACE):
            try:
                _say(self._describe(notice))
                sys.stdout.flush()
            finally:
                # The process waits in C++ for a rank that will not come.
                os._exit(1)

    def _uncaught(self, kind, error, trace) -> None:
        try:
            self.leave(error)
        except RankFailed:
            return
        self.excepthook(kind, error, trace)

    def _is_echo(self, error: BaseException) -> bool:
        if isinstance(error, RankMismatchError):
            return self.links.rank != 0  # All have it; one speaks.
        if isinstance(error, RuntimeError):
            text = str(error).lower()
            return isinstance(error, getattr(dist, 'DistError', ())) or any(
                word in text for word in _ECHOES)
        return isinstance(error, ConnectionError | TimeoutError)

    def _describe(self, notice: Notice) -> str:
        name = self._name(notice.rank, notice.place)
        ended = f'This is rank {self.links.rank}, which ends because of it.'
        if not notice.error:
            return (f'{name} was lost: its process ended without a word, as by SIGKILL '
                    '(often the out-of-memory killer; see dmesg), a crash in native '
                    f'code, or with its machine. {ended}')
        error, _, more = notice.error.partition('\n')
        if self.links.rank == 0:
            # The rank that failed has no log file.
            more = f'{more}\n{notice.trace}'.lstrip()
            return f'{name} failed: {error}\n{ended}\n{more}'.rstrip()
        return f'{name} failed: {error}\n{ended}'

    def _name(self, rank: int, place: str) -> str:
        return f'Rank {rank} of {self.links.world_size} ({place})'


def _say(message: str) -> None:
    """To the screen, at once, and to the log file of a run."""
    print(message, file=sys.stderr, flush=True)
    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(
        logger.name, logging.ERROR, __file__, 0, message, None, None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


_watch: _FailureDetector | None = None
_meetings = 0
_inside = False


def _stop_detection() -> None:
    global _watch
    if _watch is not None:
        watch, _watch = _watch, None
        watch.close()


def _in_child() -> None:
    global _watch
    if _watch is not None:
        if _watch.links is not None:
            _watch.links.forget()
        sys.excepthook = _watch.excepthook
    _watch = None


# Loader workers are forked: a connection that they hold would outlive their parent.
os.register_at_fork(after_in_child=_in_child)
