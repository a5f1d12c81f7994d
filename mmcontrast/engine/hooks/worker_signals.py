"""Loader workers leave signals to the process that trains."""
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence

from torch.utils.data import DataLoader


def shield_workers(loader: DataLoader, signals: Sequence[int]) -> None:
    """Let workers that ``loader`` starts from now on pass over these signals.

    Ctrl-C, ``torchrun`` and Slurm signal every process of a run. A worker that dies of
    it takes the training process along before it could save.

    Holds for forked workers, the way of Linux. Those of ``spawn`` and ``forkserver``
    import libraries whose threads (of BLAS, say) are there before the signals are
    blocked; SIGTERM may still end these.
    """
    if loader.num_workers and not isinstance(loader.worker_init_fn, _Shielded):
        loader.worker_init_fn = _Shielded(loader.worker_init_fn, tuple(signals))


class _Shielded:
    """A ``worker_init_fn`` that sets the signals first; can be sent to a process."""

    def __init__(self, init: Callable | None, signals: tuple) -> None:
        self.init, self.signals = init, signals

    def __call__(self, worker_id: int) -> None:
        for number in self.signals:
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
            elif hasattr(signal, 'sigwaitinfo'):
                _heed_parent_only()
        if self.init is not None:
            self.init(worker_id)


def _heed_parent_only() -> None:
    # SIGTERM of the training process is how torch ends a worker.
    # Of a fork server's child, too, os.getppid() is another one.
    parent = multiprocessing.parent_process().pid
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, name='sigterm of the parent', daemon=True).start()
