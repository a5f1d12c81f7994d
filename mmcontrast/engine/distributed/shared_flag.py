"""A number that all ranks learn at the same step, without waiting for a GPU."""
import torch
from mmengine.dist import get_world_size
from torch import distributed as dist


class SharedFlag:
    """The greatest number that any rank brought to the last round but one.

    All ranks call :meth:`ask` equally often, say once a step. The exchange of a step
    runs in the background, on CPU tensors and in a gloo group of its own, and is read
    in the next step: nothing waits for a GPU, and every rank reads the same. A single
    process reads what it brings at once. Building it is collective.
    """

    def __init__(self) -> None:
        several = get_world_size() > 1
        self.group = dist.new_group(backend='gloo') if several else None
        self._numbers = torch.zeros(1, dtype=torch.int64, device='cpu')
        self._work: dist.Work | None = None
        self._greatest = dist.AllreduceOptions()
        self._greatest.reduceOp = dist.ReduceOp.MAX

    def ask(self, value: int) -> int:
        """Bring ``value`` to this round; the greatest of the round before, 0 at first.
        """
        if self.group is None:
            return value
        agreed = self._read()
        self._numbers.fill_(value)
        # What dist.all_reduce ends in; its wrappers would take most of the time.
        self._work = self.group.allreduce([self._numbers], self._greatest)
        return agreed

    def least(self, value: int) -> int:
        """The smallest ``value`` of any rank, at once."""
        if self.group is None:
            return value
        number = torch.tensor([value], device='cpu')
        dist.all_reduce(number, dist.ReduceOp.MIN, group=self.group)
        return int(number)

    def close(self) -> None:
        """Meet the other ranks for the last time."""
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
