"""Measure the peak memory of a piece of work."""
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import psutil
import torch


class PeakMemory:
    """Peak of this process's memory from here on (Linux)."""

    def __init__(self) -> None:
        gc.collect()
        # Freed blocks that the allocator keeps would hide what is allocated next.
        ctypes.CDLL(None).malloc_trim(0)
        # 5: forget the peak so far.
        Path('/proc/self/clear_refs').write_text('5')
        self.before = psutil.Process().memory_info().rss

    def beyond(self) -> int:
        """Bytes beyond those that were in use at the start."""
        line = next(line for line in Path('/proc/self/status').read_text().splitlines()
                    if line.startswith('VmHWM'))
        return max(0, int(line.split()[1]) * 1024 - self.before)


def peak_memory(function: Callable[[], object], device: str = 'cpu') -> int:
    """Peak bytes of a call, on a GPU or in this process, beyond those before it."""
    if torch.device(device).type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    peak = PeakMemory()
    function()
    return peak.beyond()
