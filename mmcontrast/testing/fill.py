"""Draw weights and inputs by name, so that golden cases carry no weight files.

A tensor depends on its name and shape alone: the name's CRC-32 seeds numpy's legacy
``RandomState``, whose stream numpy guarantees never to change. The reference
implementation was filled by the same rules when a case was made.
"""
import math
import zlib
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

# The tensors drawn last: cases of one method often have the same weights.
_drawn: OrderedDict[tuple, Tensor] = OrderedDict()
_KEPT_BYTES = 1e9


def rand(name: str, shape) -> Tensor:
    """Float32 tensor, uniform in [0, 1)."""
    return torch.from_numpy(_stream(name).random_sample(tuple(shape))).float()


def randn(name: str, shape, scale: float = 1.0) -> Tensor:
    """Float32 tensor, normal with mean 0 and standard deviation ``scale``."""
    key = name, tuple(shape), scale
    if key not in _drawn:
        values = np.asarray(scale * _stream(name).standard_normal(tuple(shape)))
        _drawn[key] = torch.from_numpy(values.astype(np.float32))
        _forget()
    _drawn.move_to_end(key)
    return _drawn[key].clone()


def fill_value(key: str, shape, salt: str = '') -> Tensor:
    """The weight or buffer that the reference calls ``key``.

    Args:
        key: Its name there. ``num_batches_tracked`` is 0 (int64), ``running_var``
            uniform in [0.5, 1.5).
        shape: Scalars are drawn around 1 and vectors around 0, or around 1 where the
            name ends with ``weight``, both with standard deviation 0.1; all others are
            normal with the standard deviation fan_in ** -0.5, the first axis being the
            outputs.
        salt: Goes before the name; another salt is another draw.
    """
    name, shape = salt + key, tuple(shape)
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith('running_var'):
        return rand(name, shape) + 0.5
    if len(shape) > 1:
        return randn(name, shape, float(math.prod(shape[1:])) ** -0.5)
    around_one = not shape or key.endswith('weight')
    return randn(name, shape, 0.1) + float(around_one)


def fill_state_dict(shapes: dict, salt: str = '') -> dict[str, Tensor]:
    """:func:`fill_value` of every ``{key: shape}``."""
    return {key: fill_value(key, shape, salt) for key, shape in shapes.items()}


def _forget() -> None:
    size = sum(tensor.nbytes for tensor in _drawn.values())
    while size > _KEPT_BYTES and len(_drawn) > 1:
        size -= _drawn.popitem(last=False)[1].nbytes


def _stream(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
