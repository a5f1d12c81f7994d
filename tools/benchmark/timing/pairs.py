"""Compare an implementation of ours with the one that its description spells out."""
from collections.abc import Callable, Iterator
from itertools import accumulate

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from .frame import Row, time_in_turns


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def peak(function: Callable) -> int:
    """Peak bytes that a call allocates beyond what is allocated before it."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True,
                 acc_events=True) as found:
        function()
    changes = sorted((event.start_ns(), event.nbytes())
                     for event in found.profiler.kineto_results.events()
                     if event.name() == '[memory]')
    return max(accumulate(change for _, change in changes))


def time_rows(name: str, functions: dict[str, Callable], turns: int, target: str = '',
              reference: str = '') -> Iterator[Row]:
    """Times of all, and the ratios of the others to ours."""
    found = time_in_turns(functions, turns)
    for who, spread in found.times.items():
        yield Row(f'{name}, {who}', [v * 1e3 for v in spread.values], 'ms')
    for who in list(functions)[1:]:
        promised = who == 'as written'
        yield Row(f'{name}, {who} / ours', found.ratios[who].values, 'x',
                  target=target if promised else '',
                  reference='' if promised else reference)


def memory_rows(name: str, peaks: dict[str, int], target: str = '') -> Iterator[Row]:
    for who, most in peaks.items():
        yield Row(f'{name}, peak memory, {who}', most / 1e6, 'MB')
    yield Row(f'{name}, peak memory, ours / as written',
              peaks['ours'] / peaks['as written'], 'x', target=target)
