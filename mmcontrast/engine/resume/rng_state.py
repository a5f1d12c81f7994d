"""Save, restore and isolate the RNG state of Python, numpy and torch."""
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class RNGState(NamedTuple):
    """States of the global random generators.

    Attributes:
        python: Of ``random``.
        numpy: Of ``numpy.random``.
        torch: Of torch on the CPU.
        cuda: Of torch on the current GPU; None if no GPU is in use.
    """

    python: tuple
    numpy: dict
    torch: Tensor
    cuda: Tensor | None = None


def get_rng_state(cuda: bool = True) -> RNGState:
    """The current state; ``cuda=False`` leaves the GPU out."""
    used = cuda and torch.cuda.is_available() and torch.cuda.is_initialized()
    return RNGState(
        random.getstate(), np.random.get_state(legacy=False),
        torch.default_generator.get_state(),
        torch.cuda.get_rng_state() if used else None)


def restore_rng_state(states: RNGState) -> None:
    """Set the global generators to a saved state."""
    random.setstate(states.python)
    np.random.set_state(states.numpy)
    torch.default_generator.set_state(states.torch)
    if states.cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states.cuda)


def rng_state_to_data(states: RNGState) -> dict:
    """A state as numbers and tensors, for a checkpoint."""
    version, words, gauss = states.python
    data = dict(torch=states.torch, cuda=states.cuda,
                python=dict(version=version, words=torch.tensor(words), gauss=gauss))
    if states.numpy['bit_generator'] == 'MT19937':
        inner = states.numpy['state']
        data['numpy'] = dict(
            key=torch.from_numpy(inner['key'].astype(np.int64)), pos=int(inner['pos']),
            has_gauss=int(states.numpy['has_gauss']),
            gauss=float(states.numpy['gauss']))
    return data


def rng_state_from_data(data: dict) -> RNGState:
    """The state that :func:`rng_state_to_data` gave; its tensors on any device."""
    python, numpy, cuda = data['python'], data.get('numpy'), data['cuda']
    # An exchanged bit generator of numpy was not saved; it stays as it is.
    array = np.random.get_state(legacy=False) if numpy is None else dict(
        bit_generator='MT19937', has_gauss=numpy['has_gauss'], gauss=numpy['gauss'],
        state=dict(key=numpy['key'].cpu().numpy().astype(np.uint32), pos=numpy['pos']))
    return RNGState(
        (python['version'], tuple(python['words'].tolist()), python['gauss']), array,
        data['torch'].cpu(), None if cuda is None else cuda.cpu())


@contextmanager
def preserved_rng(cuda: bool = True) -> Iterator[None]:
    """Restore the state of Python's, numpy's and torch's generators on leaving."""
    states = get_rng_state(cuda)
    try:
        yield
    finally:
        restore_rng_state(states)


def seed_cpu(*numbers: int) -> None:
    """Seed Python, numpy and torch on the CPU from whole numbers; some 20 us.

    Different numbers give unrelated streams, as do the three libraries. The GPU is left
    alone: ``torch.manual_seed`` would seed it too.
    """
    packed = struct.pack(f'<{len(numbers)}Q', *(n & 2**64 - 1 for n in numbers))
    digest = blake2b(packed, digest_size=40).digest()
    random.seed(digest[:16])
    np.random.seed(np.frombuffer(digest, np.uint32, 4, 16))
    torch.default_generator.manual_seed(int.from_bytes(digest[32:], 'little'))


class OwnStream:
    """A random stream that is independent of the global generators.

    Inside ``with stream:`` the global generators are those of the stream, which
    continues where it was left the last time.

    Args:
        numbers: Whole numbers to seed it from.
    """

    def __init__(self, *numbers: int) -> None:
        self._seeds: tuple[int, ...] = numbers
        self._states: RNGState | None = None

    def __enter__(self) -> 'OwnStream':
        self._outside = get_rng_state(cuda=False)
        if self._states is None:
            seed_cpu(*self._seeds)
        else:
            restore_rng_state(self._states)
        return self

    def __exit__(self, *error) -> None:
        self._states = get_rng_state(cuda=False)
        restore_rng_state(self._outside)
