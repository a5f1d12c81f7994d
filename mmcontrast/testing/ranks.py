"""Run a function on several real gloo processes, for tests and benchmarks."""
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.multiprocessing import start_processes

from .processes import warm_context


def on_ranks(world_size: int, function: Callable, *args) -> list:
    """``function(rank, *args)`` on ``world_size`` processes; what each one returns.

    The processes are new ones in each call, with a process group of their own: nothing
    is left of a call before. They start with the libraries imported, in a fraction of
    a second from the second call on.

    Args:
        world_size: Number of ranks.
        function: Must be importable (module level); runs with its rank, gloo and one
            thread a rank. May return tensors, numbers, strings or containers of them.
        args: Further arguments, which must pickle.

    Returns:
        The ``world_size`` results, in the order of the ranks.

    Raises:
        ProcessRaisedException: If a rank raised; with its traceback, and the other
            ranks are ended.
    """
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    method = warm_context().get_start_method()
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_worker, (world_size, port, folder, function, args), world_size,
                        start_method=method)
        return [torch.load(Path(folder) / f'{rank}.pt', weights_only=True)
                for rank in range(world_size)]


def _worker(rank: int, world_size: int, port: int, folder: str, function, args):
    torch.set_num_threads(1)
    # Data loaders fork, as in ranks that a launcher starts.
    multiprocessing.set_start_method(None, force=True)
    os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank),
                       WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=world_size)
    result = function(rank, *args)
    torch.save(result, Path(folder) / f'{rank}.pt')
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
