"""Map a function over many jobs in processes, a bounded number of them at a time."""
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context

import cv2

from ...errors import DataError

# Jobs that are waiting for a process, for each process.
_QUEUED = 4


def in_parallel(function: Callable, jobs: Iterable, workers: int) -> Iterator:
    """Results of ``function(job)``, as they are ready; without workers in order.

    Unlike ``multiprocessing.Pool``, a process that dies is an error, not a wait
    without end.

    Args:
        function: Picklable; is passed with every job.
        jobs: Read only as fast as they are done.
        workers: Processes; 0 calls the function in this one.

    Raises:
        DataError: If a process died.
    """
    if not workers:
        yield from map(function, jobs)
        return
    jobs = iter(jobs)
    with ProcessPoolExecutor(workers, get_context('spawn'), _start) as pool:
        running = {pool.submit(function, job)
                   for job in islice(jobs, _QUEUED * workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(function, job)
                            for job in islice(jobs, len(done))}
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                'A worker process died, most often for lack of memory. Use fewer '
                '--workers (workers=0 for none).') from error
        finally:
            for future in running:
                future.cancel()


def _start() -> None:
    # Ctrl-C goes to the whole group; the main process ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
