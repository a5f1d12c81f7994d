"""Share a number between ranks at every step, without waiting for a GPU."""
import torch
from mmengine.dist import get_world_size
from torch import distributed as dist


class SharedFlag:
    """The maximum over all ranks of a number, one step late.

    All ranks call :meth:`exchange` equally often, say once a step. The reduction runs
    in the background, on CPU tensors and in a gloo group of its own, and is read in the
    next step: nothing waits for a GPU, and every rank reads the same. A single process
    reads its own number at once. Construction is collective.
    """

    def __init__(self) -> None:
        several = get_world_size() > 1
        self.group = dist.new_group(backend='gloo') if several else None
        self._numbers = torch.zeros(1, dtype=torch.int64, device='cpu')
        self._work: dist.Work | None = None
        self._max_options = dist.AllreduceOptions()
        self._max_options.reduceOp = dist.ReduceOp.MAX

    def exchange(self, value: int) -> int:
        """Send ``value`` for this step; returns the maximum of the last, 0 at first."""
        if self.group is None:
            return value
        maximum = self._read()
        self._numbers.fill_(value)
        # What dist.all_reduce calls; its wrappers would take most of the time.
        self._work = self.group.allreduce([self._numbers], self._max_options)
        return maximum

    def minimum(self, value: int) -> int:
        """The minimum of ``value`` over all ranks, at once."""
        if self.group is None:
            return value
        number = torch.tensor([value], device='cpu')
        dist.all_reduce(number, dist.ReduceOp.MIN, group=self.group)
        return int(number)

    def close(self) -> None:
        """Wait for the other ranks and end the exchange."""
        if self.group is not None:
            self._read()
            dist.barrier(group=self.group)
            dist.destroy_process_group(self.group)

    def _read(self) -> int:
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._numbers)
