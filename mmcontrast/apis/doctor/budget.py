"""Share the time of the doctor among its checks, and stop it in time."""
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import UserValueError


class OutOfTime(BaseException):
    """The time of the doctor is over; no check may take it for its own error."""


class Budget:
    """Time that is left.

    Args:
        minutes: From now on.

    Raises:
        UserValueError: If that is no time.
    """

    def __init__(self, minutes: float) -> None:
        if not minutes > 0:  # Also for NaN.
            raise UserValueError(
                f'minutes must be greater than 0, got {minutes!r}: the doctor checks '
                'nothing without time.')
        self.minutes = minutes
        self._end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def share(self, part: float, most: float) -> float:
        """Seconds for a check: a part of what is left, and at most so many."""
        return max(0.0, min(most, part * self.left))

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise :class:`OutOfTime` in the block when the time is over.

        A call into C, such as one convolution, ends first. Without effect outside of
        the main thread, where no signal arrives, and on Windows.
        """
        if (not hasattr(signal, 'setitimer')
                or threading.current_thread() is not threading.main_thread()):
            yield
            return

        def stop(*_) -> None:
            raise OutOfTime
        former, began = signal.signal(signal.SIGALRM, stop), time.monotonic()
        # Again after a while: Python drops exceptions in some places, as in __del__.
        delay, interval = signal.setitimer(
            signal.ITIMER_REAL, max(self.left, 1e-3), 10)
        try:
            yield
        finally:
            # A timer of the caller goes on.
            left = delay and max(delay - (time.monotonic() - began), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
            signal.setitimer(signal.ITIMER_REAL, left, interval)
