"""Let data loader workers ignore stop signals."""
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence

from torch.utils.data import DataLoader


def shield_workers(loader: DataLoader, signals: Sequence[int]) -> None:
    """Let workers that ``loader`` starts from now on ignore these signals.

    Ctrl-C, ``torchrun`` and Slurm signal every process of a run. A worker that dies of
    it takes the training process down before it can save.

    Holds for forked workers, the default on Linux. Those of ``spawn`` and
    ``forkserver`` import libraries that start threads (BLAS) before the signals are
    blocked; SIGTERM may still end these.
    """
    if loader.num_workers and not isinstance(loader.worker_init_fn, _Shielded):
        loader.worker_init_fn = _Shielded(loader.worker_init_fn, tuple(signals))


class _Shielded:
    """A picklable ``worker_init_fn`` that sets the signals first."""

    def __init__(self, init: Callable | None, signals: tuple) -> None:
        self.init, self.signals = init, signals

    def __call__(self, worker_id: int) -> None:
        for number in self.signals:
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
            elif hasattr(signal, 'sigwaitinfo'):
                _obey_parent_only()
        if self.init is not None:
            self.init(worker_id)


def _obey_parent_only() -> None:
    # torch ends a worker by a SIGTERM from the training process, which is not
    # os.getppid() in the child of a fork server.
    parent = multiprocessing.parent_process().pid
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait() -> None:
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, name='sigterm of the parent', daemon=True).start()
