"""Exchange rows and sums between the ranks that share one contrastive batch."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine import dist
from torch import Tensor


@dataclass(frozen=True)
class WorldBatch:
    """Where the pairs of this rank lie in the joint batch of all ranks.

    Nothing is sent by a single rank. No method is differentiable.

    Attributes:
        counts: Number of pairs of each rank; they may differ.
        rank: This one.
    """

    counts: Sequence[int]
    rank: int = 0

    @classmethod
    def of(cls, rows: Tensor) -> 'WorldBatch':
        """Ask every rank for its number of rows.

        The host waits for the answer: the next exchange needs these sizes.
        """
        if dist.get_world_size() == 1:
            return cls([len(rows)])
        count = torch.tensor([len(rows)], device=rows.device)
        return cls(torch.cat(dist.all_gather(count)).tolist(), dist.get_rank())

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.counts)

    @property
    def start(self) -> int:
        """Number of pairs on the ranks before this one."""
        return sum(self.counts[:self.rank])

    @property
    def total(self) -> int:
        """N, the number of pairs on all ranks."""
        return sum(self.counts)

    def gather(self, rows: Tensor) -> Tensor:
        """(B, ...) rows of this rank -> (N, ...) rows of all ranks, in their order."""
        if self.size == 1:
            return rows
        longest = max(self.counts)
        padded = rows.contiguous()
        if len(rows) < longest:
            padded = rows.new_zeros(longest, *rows.shape[1:])
            padded[:len(rows)] = rows
        packed = rows.new_empty(self.size * longest, *rows.shape[1:])
        torch.distributed.all_gather_into_tensor(packed, padded)
        if min(self.counts) == longest:
            return packed
        return torch.cat([each[:count] for each, count in zip(
            packed.split(longest), self.counts, strict=True)])

    def logsumexp(self, partial: Tensor) -> Tensor:
        """Combine log-sum-exps, of any one shape, that each rank took over its rows."""
        if self.size == 1:
            return partial
        return torch.stack(dist.all_gather(partial)).logsumexp(0)

    def sum_own(self, rows: Tensor) -> Tensor:
        """(N, ...) terms of this rank for all pairs -> (B, ...) sums for its own pairs.

        A reduce-scatter, but of shares that may differ in size.
        """
        if self.size == 1:
            return rows
        own = self.counts[self.rank]
        received = rows.new_empty(self.size * own, *rows.shape[1:])
        torch.distributed.all_to_all_single(
            received, rows.contiguous(), [own] * self.size, list(self.counts))
        return received.unflatten(0, (self.size, own)).sum(0)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, of any one shape."""
        if self.size > 1:
            dist.all_reduce(values)
        return values
