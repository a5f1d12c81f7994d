"""Rows of all ranks, of which each rank has another number."""
from collections.abc import Sequence

import torch
from mmengine import dist
from torch import Tensor


def gather_counts(counts: Tensor) -> list[list[int]]:
    """(D,) counts of this rank -> D numbers of each rank, on the host."""
    if dist.get_world_size() == 1:
        return [counts.tolist()]
    return torch.stack(dist.all_gather(counts)).tolist()


@torch.no_grad()
def gather_rows(parts: Sequence[Tensor], counts: Sequence[Sequence[int]]
                ) -> list[Tensor]:
    """Rows of all ranks in the order of ranks, without a gradient.

    All parts travel in one exchange, padded to the rank that has most.

    Args:
        parts: D tensors (R_d, C) of this rank.
        counts: Numbers of rows of each part, rank by rank.

    Returns:
        D tensors (sum over ranks of R_d, C).
    """
    if len(counts) == 1:
        return list(parts)
    packed = torch.cat(list(parts))
    longest = max(map(sum, counts))
    padded = packed.new_zeros(longest, packed.shape[1])
    padded[:len(packed)] = packed
    ranks = [rows[:sum(each)].split(list(each))
             for rows, each in zip(dist.all_gather(padded), counts, strict=True)]
    return [torch.cat(part) for part in zip(*ranks, strict=True)]
