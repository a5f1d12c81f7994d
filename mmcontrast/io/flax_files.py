"""Read and write Flax checkpoints (msgpack) as data only, without Flax or JAX."""
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from ..errors import UserValueError
from .atomic import atomic_write
from .file_kinds import describe_content

# Types of msgpack's extensions in flax.serialization.
ARRAY, COMPLEX, SCALAR = 1, 2, 3
CHUNKED = '__msgpack_chunked_array__'


def read_flax(path: str | Path) -> dict[str, Tensor]:
    """The arrays of a Flax checkpoint by their paths, such as ``'conv1/kernel'``.

    Other leaves (numbers, strings) are left out.

    Raises:
        ValueError: If the file is no msgpack of Flax, or is cut short.
    """
    msgpack = _msgpack()
    data = Path(path).read_bytes()
    try:
        content = msgpack.unpackb(data, ext_hook=_unpack_array,
                                  strict_map_key=False)
    except Exception as error:  # damaged bytes raise many kinds
        what = describe_content(path)
        raise UserValueError(
            f'{path} cannot be read as a Flax checkpoint' + (
                f': {what}' if what else f' ({type(error).__name__}: {error}). It may '
                'be truncated: compare its size with the original.')) from error
    if not isinstance(content, Mapping):
        raise UserValueError(
            f'{path} holds a {type(content).__name__}, expected a tree of arrays.')
    return dict(_leaves(content, ()))


def write_flax(tree: Mapping[str, Tensor], path: str | Path) -> None:
    """Write arrays by their paths, as ``flax.serialization.msgpack_serialize`` does.
    """
    msgpack = _msgpack()
    nested: dict = {}
    for name, value in tree.items():
        *folders, leaf = name.split('/')
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = value
    with atomic_write(path) as file:
        file.write(msgpack.packb(nested, default=_pack_array))


def _leaves(tree: Mapping, path: tuple[str, ...]):
    for name, value in tree.items():
        if isinstance(value, Mapping) and CHUNKED in value:
            value = _joined(value)
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, str(name)))
        elif isinstance(value, Tensor):
            yield '/'.join((*path, str(name))), value


def _joined(chunked: Mapping) -> Tensor:
    """An array that Flax divided because msgpack's objects end at 4 GB."""
    shape = _in_order(chunked['shape'])
    return torch.cat([x.flatten() for x in _in_order(chunked['chunks'])]).reshape(shape)


def _in_order(items) -> list:
    """A list, which Flax may store as a dict with its indices as keys."""
    if isinstance(items, Mapping):
        return [items[key] for key in sorted(items, key=int)]
    return list(items)


def _unpack_array(kind: int, data: bytes):
    if kind not in (ARRAY, SCALAR):
        return None
    shape, name, buffer = _msgpack().unpackb(data, raw=False)
    dtype = getattr(torch, name if isinstance(name, str) else name.decode(), None)
    if not isinstance(dtype, torch.dtype):
        return None  # strings and the like
    size = dtype.itemsize * prod(shape)
    if len(buffer) != size:
        raise ValueError(f'an array of {list(shape)} {name} has {len(buffer)} bytes')
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(buffer), dtype=dtype).reshape(shape)


def _pack_array(value):
    if not isinstance(value, Tensor):
        raise TypeError(f'{type(value).__name__} is no array')
    msgpack, value = _msgpack(), value.detach().cpu().contiguous()
    data = value.flatten().view(torch.uint8).numpy().tobytes()
    name = str(value.dtype).removeprefix('torch.')
    return msgpack.ExtType(
        ARRAY, msgpack.packb((list(value.shape), name, data), use_bin_type=True))


def _msgpack() -> ModuleType:
    try:
        import msgpack
    except ImportError as error:
        raise ImportError(
            'Flax checkpoints need msgpack: pip install msgpack') from error
    return msgpack
