"""Compile the LARS step of one weight for the CPU with numba.

LARS needs the norms of weight and gradient before it can update, so both are read
twice. Torch computes |w|, |g| and w.g in three operations, the norms on one core only.
This kernel computes all three in one pass on all cores, and the update that follows
finds part of the tensors in the cache. ``tools/benchmark/run.py pixpro_step`` times it.

Each process compiles for about ten seconds. Where the environment variable
``NUMBA_CACHE_DIR`` names a folder, compiled kernels are kept there for later ones.
"""
import math
from collections.abc import Callable
from types import FunctionType

import numba
import numpy as np
import torch
from torch import Tensor

# Sums in float32 within a block and in float64 across: exact enough for any length.
_BLOCK = 8192
# Below this size, starting other cores takes longer than the work.
_ONE_CORE_SIZE = 100_000


def _step(weight, grad, buffer, lr, momentum, decay, trust_coef, eps):
    zero = weight.dtype.type(0)
    blocks = (weight.size + _BLOCK - 1) // _BLOCK
    ww, gg, gw = 0.0, 0.0, 0.0
    for k in numba.prange(blocks):
        w, g = weight[k * _BLOCK:(k + 1) * _BLOCK], grad[k * _BLOCK:(k + 1) * _BLOCK]
        w_part, g_part, gw_part = zero, zero, zero
        for i in range(w.size):
            w_part += w[i] * w[i]
            g_part += g[i] * g[i]
            gw_part += g[i] * w[i]
        ww += w_part
        gg += g_part
        gw += gw_part
    terms = gg + decay * decay * ww
    square = terms + 2 * decay * gw
    decay_ = weight.dtype.type(decay)
    if square <= 1e-2 * terms:      # g close to -decay * w: the sum has cancelled
        square = 0.0
        for k in numba.prange(blocks):
            w = weight[k * _BLOCK:(k + 1) * _BLOCK]
            g = grad[k * _BLOCK:(k + 1) * _BLOCK]
            part = zero
            for i in range(w.size):
                decayed = g[i] + decay_ * w[i]
                part += decayed * decayed
            square += part
    ratio = 1.0
    if ww > 0 and square > 0:
        ratio = trust_coef * math.sqrt(ww) / (math.sqrt(square) + eps)

    scale, lr_ = weight.dtype.type(ratio), weight.dtype.type(lr)
    momentum_ = weight.dtype.type(momentum)
    for i in numba.prange(weight.size):
        b = momentum_ * buffer[i] + scale * (grad[i] + decay_ * weight[i])
        buffer[i] = b
        weight[i] -= lr_ * b


def _compiled(parallel: bool) -> Callable:
    step = FunctionType(_step.__code__, globals())
    # numba's cache on disk tells functions apart by name, not by options.
    step.__qualname__ = f'_step_parallel_{parallel}'
    # Sums may be reordered, which vectorizes them; NaN and infinity keep their meaning.
    return numba.njit(parallel=parallel, cache=bool(numba.config.CACHE_DIR),
                      fastmath={'reassoc', 'contract', 'nsz'})(step)


_on_one_core, _on_all_cores = _compiled(parallel=False), _compiled(parallel=True)


def takes(*tensors: Tensor) -> bool:
    """Whether these tensors are flat memory in the same order."""
    first = tensors[0]
    dense = first.is_contiguous() or (
        first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last))
    return dense and all(
        t.dtype in (torch.float32, torch.float64) and t.dtype == first.dtype
        and t.stride() == first.stride() and t.device.type == 'cpu' for t in tensors)


def step(weight: Tensor, grad: Tensor, buffer: Tensor, group: dict) -> None:
    """Update ``weight`` and ``buffer`` in place as :class:`LARS` says.

    The tensors are such that :func:`takes` accepts them; ``group`` holds the settings.
    """
    threads, run = torch.get_num_threads(), _on_one_core
    if threads > 1 and weight.numel() >= _ONE_CORE_SIZE:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        run = _on_all_cores
    # As floats: an int setting (eps=0) would compile the kernel once more.
    run(_flat(weight), _flat(grad), _flat(buffer), *(float(group[name]) for name in (
        'lr', 'momentum', 'weight_decay', 'trust_coef', 'eps')))
    if torch.get_num_threads() != threads:
        # Starting its threads, numba sets OpenMP's number, which is torch's, too: sums
        # in the first steps of a process would differ in bits from later ones.
        torch.set_num_threads(threads)


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().as_strided((tensor.numel(),), (1,)).numpy()
