"""What ``torch.save`` writes: how much it will be, and its hash as it goes by."""
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor


class HashingWriter:
    """A file that hashes what ``torch.save`` writes, which it does front to back.

    Args:
        file: Where it goes.

    Attributes:
        hash: SHA-256 of what was written so far.
        num_bytes: Its size.
        failure: Why the last write failed; torch's own error does not say.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.hash = hashlib.sha256()
        self.num_bytes = 0
        self.failure: OSError | None = None

    def write(self, data) -> int:
        try:
            self.file.write(data)
        except OSError as error:
            self.failure = error
            raise
        self.hash.update(data)
        self.num_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def count_bytes(value) -> int:
    """Bytes that ``torch.save`` will write for the tensors and arrays in ``value``."""
    return sum({_identity(part): size for part, size in _sizes(value)}.values())


def _sizes(value) -> Iterator[tuple]:
    """(storage or array, bytes) of all that is large below ``value``."""
    if isinstance(value, Tensor):
        with suppress(NotImplementedError):  # Sparse ones have no storage of their own.
            storage = value.untyped_storage()
            yield storage, storage.nbytes()
    elif isinstance(value, np.ndarray):
        yield value, value.nbytes
    elif isinstance(value, HistoryBuffer):
        yield from _sizes(list(value.data))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _sizes(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _sizes(part)


def _identity(part) -> int:
    return part.data_ptr() if isinstance(part, torch.UntypedStorage) else id(part)
