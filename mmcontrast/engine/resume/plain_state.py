"""Compare, save and restore the plain values that an object keeps in attributes."""
import random
from collections import OrderedDict, deque
from contextlib import suppress
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

_SCALARS = (bool, int, float, complex, str, bytes, bytearray, type(None))
_SEQUENCES = (list, tuple, torch.Size, set, frozenset, deque)
_GENERATORS = (torch.Generator, random.Random, np.random.Generator,
               np.random.RandomState)
# Of lists and dicts in each other.
_DEPTH = 50
#: Key of values that a checkpoint cannot hold as they are.
_KIND = '__kind__'


def is_plain(value: object) -> bool:
    """Whether a value is data: numbers, text, tensors, arrays, random generators, and
    lists, tuples, sets, queues and dicts of these."""
    return _is_plain(value, 0)


def _is_plain(value: object, depth: int) -> bool:
    if depth > _DEPTH:  # It may hold itself.
        return False
    if isinstance(value, dict):
        return all(type(key) in _SCALARS or _is_plain_tuple(key) for key in value
                   ) and all(_is_plain(part, depth + 1) for part in value.values())
    if type(value) in _SEQUENCES:
        return all(_is_plain(part, depth + 1) for part in value)
    # A memory map stands for a file; masked arrays are more than their numbers.
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return not value.dtype.hasobject
    if isinstance(value, Tensor):
        return not value.is_meta and not hasattr(value, '__tensor_flatten__')
    return type(value) in _SCALARS or type(value) in _GENERATORS


def _is_plain_tuple(value: object) -> bool:
    return type(value) is tuple and all(type(part) in _SCALARS for part in value)


def fingerprint(value: object) -> bytes:
    """Digest of a value, the same only for equal ones.

    What is not plain has that of its identity, and of its slots if it has some.
    """
    if is_plain(value):
        digest = blake2b(digest_size=16)
        # Of unusual tensors (quantized, on the meta device) the bytes cannot be had.
        with suppress(RuntimeError, TypeError):
            _feed(digest, value)
            return digest.digest()
    mark = f'{type(value)} {id(value)}'.encode()
    slots = () if hasattr(value, '__dict__') else getattr(type(value), '__slots__', ())
    parts = [getattr(value, name, None) for name in (
        [slots] if isinstance(slots, str) else slots)]
    return mark + b''.join(fingerprint(part) for part in parts if is_plain(part))


def _feed(digest, value: object) -> None:
    digest.update(type(value).__name__.encode())
    if isinstance(value, Tensor):
        digest.update(f'{value.dtype}{tuple(value.shape)}'.encode())
        dense = value.detach().to_dense() if value.layout != torch.strided else (
            value.detach())
        digest.update(dense.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    elif isinstance(value, np.ndarray):
        digest.update(f'{value.dtype}{value.shape}'.encode())
        digest.update(value.tobytes())
    elif isinstance(value, dict):
        for key, part in value.items():
            digest.update(repr(key).encode(errors='surrogatepass'))
            _feed(digest, part)
    elif isinstance(value, set | frozenset):
        digest.update(repr(sorted(map(repr, value))).encode(errors='surrogatepass'))
    elif type(value) in _SEQUENCES:
        digest.update(str(len(value)).encode())
        for part in value:
            _feed(digest, part)
    elif type(value) in _GENERATORS:
        _feed(digest, _generator_state(value))
    else:
        digest.update(repr(value).encode(errors='surrogatepass'))


def to_data(value: object) -> object:
    """A plain value as a checkpoint holds it: tensors on the CPU, nothing shared."""
    if isinstance(value, Tensor):
        copied = value.detach().cpu().clone()
        if type(copied) is not Tensor:  # A file with it would not be read as data.
            copied = copied.as_subclass(Tensor)
        if value.device.type == 'cpu':
            return copied
        return {_KIND: 'device', 'value': copied}
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        items = {key: to_data(part) for key, part in value.items()}
        return {_KIND: 'ordered', 'value': items} if type(value) is OrderedDict else (
            items)
    if type(value) in _GENERATORS:
        return {_KIND: 'generator', 'of': _GENERATORS.index(type(value)),
                'value': to_data(_generator_state(value))}
    if isinstance(value, deque):
        return {_KIND: 'deque', 'value': list(map(to_data, value)),
                'length': value.maxlen}
    if isinstance(value, set | frozenset):
        return {_KIND: type(value).__name__, 'value': list(map(to_data, value))}
    if type(value) in _SEQUENCES:
        return (list if type(value) is list else tuple)(map(to_data, value))
    return value


def from_data(data: object, device: torch.device) -> object:
    """The value that :func:`to_data` gave.

    Args:
        device: Of tensors that were not on the CPU.
    """
    if isinstance(data, list | tuple):
        return type(data)(from_data(part, device) for part in data)
    if not isinstance(data, dict):
        return data
    kind = data.get(_KIND)
    if kind == 'device':
        return data['value'].to(device)
    if kind == 'generator':
        return restored(_new_generator(data), data, device)
    if kind is not None:
        value = from_data(data['value'], device)
        return deque(value, data['length']) if kind == 'deque' else dict(
            ordered=OrderedDict, set=set, frozenset=frozenset)[kind](value)
    return {key: from_data(part, device) for key, part in data.items()}


def restored(current: object, data: object, device: torch.device) -> object:
    """What an attribute with the value ``current`` is to be set to.

    Whatever can take a new content keeps its identity: others may hold it, too.
    """
    if type(current) in _GENERATORS and isinstance(data, dict) and (
            data.get(_KIND) == 'generator'):
        _set_generator_state(current, data['value'])
        return current
    if type(current) in (list, tuple) and type(current) is type(data) and (
            len(current) == len(data)):
        parts = type(current)(restored(*pair, device)
                              for pair in zip(current, data, strict=True))
        if type(current) is tuple:
            return parts
        current[:] = parts
        return current
    value = from_data(data, device)
    if isinstance(current, Tensor) and isinstance(value, Tensor) and (
            current.shape == value.shape and current.dtype == value.dtype):
        # Of an expanded tensor, several elements are one number.
        with suppress(RuntimeError), torch.no_grad():
            current.copy_(value)
            return current
    if isinstance(current, dict) and isinstance(value, dict):
        current.clear()
        current.update(value)
        return current
    if type(current) in (list, deque, set) and type(current) is type(value):
        current.clear()
        (current.update if isinstance(current, set) else current.extend)(value)
        return current
    return value


def _new_generator(data: dict) -> object:
    kind = _GENERATORS[data['of']]
    if kind is np.random.Generator:
        return kind(getattr(np.random, data['value']['bit_generator'])())
    return kind()


def _generator_state(generator) -> object:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _set_generator_state(generator, state) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state.cpu())
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.bit_generator.state = state
