"""End all ranks within seconds when one fails, with its message first."""
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

from .consistency import RankMismatchError
from .rank_links import RankFailure, RankLinks

# Seconds that a process may take to exit by itself once another one has failed.
GRACE = 3.0
# Characters sent of a traceback, from its end.
MAX_TRACE = 20_000
# Words of a RuntimeError that only says that another process is gone.
_ECHOES = ('gloo', 'nccl', 'connection closed', 'connection reset', 'broken pipe',
           'tcpstore')


class AgreedExit(SystemExit):
    """An exit of all ranks together; not a failure."""


class PeerFailedExit(SystemExit):
    """Ends the process with status 1 because another rank failed, as the log says."""

    def __init__(self, message: str) -> None:
        super().__init__(1)
        self.message = message

    def __str__(self) -> str:
        return self.message


def start_failure_detection() -> None:
    """Detect from now on when another rank fails or dies; collective.

    A process that cannot exit by itself, because it waits for the other one, is ended
    with status 1 and a message that names the rank and its exception. A normal exit is
    no failure. Without a process group, and if called again, nothing happens.
    """
    global _detector
    if _detector is None and get_world_size() > 1:
        _detector = _FailureDetector()
        # Also runs in the processes of multiprocessing, where atexit does not.
        util.Finalize(None, _stop_detection, exitpriority=100)


@contextmanager
def broadcast_failures() -> Iterator[None]:
    """Send an exception that leaves this block, ``sys.exit`` too, to the other ranks.

    If the exception is only a consequence of the failure of another rank, that one is
    named instead. After the block ranks may exit at different times.

    Raises:
        PeerFailedExit: If another rank failed first.
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
        if _detector is not None:
            _detector.leave(error)
        raise
    finally:
        _inside = False
        _stop_detection()


class _FailureDetector:
    """Detects failures of other ranks in this process, and reports its own."""

    def __init__(self) -> None:
        global _num_started
        self.failed, self.leaving = threading.Event(), threading.Event()
        # After a restart torchrun keeps the store of the attempt before.
        attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
        _num_started += 1
        self.links = None
        try:
            self.links = RankLinks(
                f'mmcontrast/rank_links/{attempt}/{_num_started}', self._on_failure)
        except OSError as error:
            print_log(
                'Rank failures cannot be detected early and will show only as a '
                f'timeout of the other ranks: {error}. The ranks connect to a free '
                'port of the host of rank 0; does a firewall block it?',
                'current', logging.WARNING)
        self.excepthook, sys.excepthook = sys.excepthook, self._uncaught

    def leave(self, error: BaseException) -> None:
        """Report why this rank ends; raises if another one is the reason."""
        if self.links is None:
            return
        self.leaving.set()
        if self._is_echo(error):
            # The cause may still be on its way.
            self.failed.wait(GRACE)
        if self.failed.is_set():
            message = self._describe(self.links.failure)
            _report(message)
            raise PeerFailedExit(message) from None
        line = traceback.format_exception_only(error)[-1].strip()
        if isinstance(error, SystemExit):
            line = f'it called sys.exit({error.code!r})'
        _report(f'{self._name(self.links.rank, self.links.process)} failed: {line}')
        trace = ''.join(traceback.format_exception(error))
        self.links.send_failure(line, trace[-MAX_TRACE:])

    def close(self) -> None:
        """End the detection; this rank exits normally or has reported its failure."""
        self.leaving.set()
        if self.links is not None:
            self.links.close()
        if sys.excepthook == self._uncaught:
            sys.excepthook = self.excepthook

    def _on_failure(self, failure: RankFailure) -> None:
        # In the thread of the links.
        self.failed.set()
        if not self.leaving.wait(GRACE):
            try:
                _report(self._describe(failure))
                sys.stdout.flush()
            finally:
                # The process waits in C++ for a rank that is gone.
                os._exit(1)

    def _uncaught(self, kind, error, trace) -> None:
        try:
            self.leave(error)
        except PeerFailedExit:
            return
        self.excepthook(kind, error, trace)

    def _is_echo(self, error: BaseException) -> bool:
        if isinstance(error, RankMismatchError):
            return self.links.rank != 0  # Raised on all; reported once.
        if isinstance(error, RuntimeError):
            text = str(error).lower()
            return isinstance(error, getattr(dist, 'DistError', ())) or any(
                echo in text for echo in _ECHOES)
        return isinstance(error, ConnectionError | TimeoutError)

    def _describe(self, failure: RankFailure) -> str:
        name = self._name(failure.rank, failure.process)
        ended = f'This is rank {self.links.rank}, which ends because of it.'
        if not failure.error:
            return (f'{name} was lost: its process died without an exception, as by '
                    'SIGKILL (often the out-of-memory killer; see dmesg), a crash in '
                    f'native code, or with its machine. {ended}')
        error, _, more = failure.error.partition('\n')
        if self.links.rank == 0:
            # The rank that failed has no log file.
            more = f'{more}\n{failure.trace}'.lstrip()
            return f'{name} failed: {error}\n{ended}\n{more}'.rstrip()
        return f'{name} failed: {error}\n{ended}'

    def _name(self, rank: int, process: str) -> str:
        return f'Rank {rank} of {self.links.world_size} ({process})'


def _report(message: str) -> None:
    """Write to stderr at once, and to the log file of a run."""
    print(message, file=sys.stderr, flush=True)
    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(
        logger.name, logging.ERROR, __file__, 0, message, None, None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


_detector: _FailureDetector | None = None
_num_started = 0
_inside = False


def _stop_detection() -> None:
    global _detector
    if _detector is not None:
        detector, _detector = _detector, None
        detector.close()


def _in_child() -> None:
    global _detector
    if _detector is not None:
        if _detector.links is not None:
            _detector.links.close_in_child()
        sys.excepthook = _detector.excepthook
    _detector = None


# Forked loader workers would keep the connections of a dead parent open.
os.register_at_fork(after_in_child=_in_child)
