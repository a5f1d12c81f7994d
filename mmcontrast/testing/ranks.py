"""Run a function on several real gloo processes, for tests and benchmarks."""
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as mp


def on_ranks(world_size: int, function: Callable, *args) -> list:
    """``function(rank, *args)`` on ``world_size`` processes; what each one returns.

    ``function`` must be importable (module level) and return tensors, numbers, strings
    or containers of them.
    """
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (world_size, port, folder, function, args), world_size)
        return [torch.load(Path(folder) / f'{rank}.pt', weights_only=True)
                for rank in range(world_size)]


def _worker(rank: int, world_size: int, port: int, folder: str, function, args):
    torch.set_num_threads(1)
    os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank),
                       WORLD_SIZE=str(world_size), LOCAL_RANK=str(rank))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=world_size)
    result = function(rank, *args)
    torch.save(result, Path(folder) / f'{rank}.pt')
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
