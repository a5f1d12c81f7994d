"""Ranks that start quickly and know nothing of each other's past."""
import os

import pytest
import torch
import torch.distributed as dist

from mmcontrast.testing.ranks import on_ranks

CALLS = []


def add_up(rank, start):
    """The sum over ranks, and what a call before left behind."""
    CALLS.append(rank)
    os.environ['LEFT_BEHIND'] = 'yes'
    value = torch.tensor(float(start + rank))
    dist.all_reduce(value)
    return value.item(), len(CALLS), torch.get_num_threads()


def fail_on_one(rank):
    if rank == 1:
        raise ValueError('rank one has had enough')
    dist.barrier()


def test_each_call_has_ranks_and_a_group_of_its_own():
    for start in (1, 10):
        assert on_ranks(2, add_up, start) == [(2. * start + 1, 1, 1)] * 2
    assert 'LEFT_BEHIND' not in os.environ and not CALLS


def test_a_failing_rank_ends_all_with_its_traceback():
    with pytest.raises(Exception, match='rank one has had enough'):
        on_ranks(2, fail_on_one)
    assert on_ranks(2, add_up, 0) == [(1., 1, 1)] * 2
