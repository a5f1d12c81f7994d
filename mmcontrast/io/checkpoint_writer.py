"""Write the checkpoint of a training with its manifest."""
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .atomic import atomic_write
from .disk import check_room
from .manifest import Manifest, manifest_path, versions, write_manifest


def write_training_checkpoint(checkpoint: Mapping, path: str | Path, *, epoch: int,
                              step: int, config_text: str, run: str = '') -> None:
    """Write a checkpoint and, beside it, its manifest ``<name>.json``, atomically.

    The tensors are written without a copy in memory.

    Args:
        checkpoint: What ``torch.save`` takes.
        path: The file; its folder is created.
        epoch: Epochs trained.
        step: Iterations trained.
        config_text: Text of the config, for the manifest.
        run: Id of the run, for the manifest.

    Raises:
        DiskError: If the disk is full, or it cannot be written for another reason.
    """
    path = Path(path).expanduser()
    needed = count_bytes(checkpoint)
    check_room(path, needed)
    with atomic_write(path, needed) as file:
        hashing = HashingWriter(file)
        try:
            torch.save(dict(checkpoint), hashing)
        except RuntimeError as error:
            if hashing.failure is None:
                raise
            # torch hides the error of the disk.
            raise hashing.failure from error
        # The manifest of an older file must not describe this one.
        with suppress(FileNotFoundError):
            manifest_path(path).unlink()
    write_manifest(Manifest(
        file=path.name, bytes=hashing.num_bytes, sha256=hashing.hash.hexdigest(),
        epoch=epoch, step=step, versions=versions(), config=config_text,
        run=run), path)


class HashingWriter:
    """A file that hashes what ``torch.save`` writes.

    Args:
        file: The file to write to.

    Attributes:
        hash: SHA-256 of what was written so far.
        num_bytes: Its size.
        failure: Why the last write failed; torch's own error does not tell.
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
    """(storage or array, bytes) of all tensors and arrays in ``value``."""
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
