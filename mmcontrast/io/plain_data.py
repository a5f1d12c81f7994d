"""Convert batches to plain data and back: tensors, numbers, text and containers.

A pickled data sample names a class to import when it is read. Here it becomes a dict
that names a registered class; no other class is built when it is read.
"""
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from .. import structures
from ..registry import MODELS

#: Marks a dict that stands for another object.
KIND = '__kind__'
_SIMPLE = (type(None), bool, int, float, complex, str, bytes)
# Module and constructor arguments by class name.
_CLASSES: dict[str, tuple[str, Mapping[str, str]]] = {}


def register_plain(module: str, *names: str,
                   arguments: Mapping[str, str] | None = None) -> None:
    """Let objects of these classes be saved and read, without importing them now.

    A method calls it where it defines a data sample of its own. A data sample of an
    unregistered class is saved as its closest registered base class.

    Args:
        module: Where the classes are found.
        names: Subclasses of ``BaseDataElement``, dataclasses, or classes that
            ``arguments`` describes.
        arguments: Attribute by constructor argument.
    """
    _CLASSES.update(dict.fromkeys(names, (module, arguments or {})))


register_plain('mmengine.structures', 'BaseDataElement', 'InstanceData', 'PixelData',
               'LabelData')
register_plain('mmdet.structures', 'DetDataSample', 'TrackDataSample', 'ReIDDataSample')
register_plain('mmseg.structures', 'SegDataSample')
register_plain('mmpretrain.structures', 'DataSample', 'MultiTaskDataSample')
register_plain('mmdet.structures.bbox', 'HorizontalBoxes',
               arguments=dict(data='tensor'))
register_plain('mmdet.structures.mask', 'BitmapMasks', 'PolygonMasks',
               arguments=dict(masks='masks', height='height', width='width'))
register_plain(structures.__name__, *(
    name for name, kind in vars(structures).items() if is_dataclass(kind)))


def to_plain(value: object) -> object:
    """``value`` with everything in it as plain data.

    What is no data (a function, an object of an unregistered class) is replaced by a
    note of its type; :func:`left_out` lists these.
    """
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, Tensor):
        return _compact(value)
    if isinstance(value, Mapping):
        return _plain_dict(value)
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(to_plain(item) for item in value)
    if isinstance(value, set | frozenset):
        return {KIND: 'set', 'items': [to_plain(item) for item in value]}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in 'biufcSU':
        return _plain_array(value)
    if isinstance(value, Path):
        return {KIND: 'path', 'text': str(value)}
    if isinstance(value, BaseDataElement):
        return _plain_element(value)
    return _plain_object(value)


def from_plain(value: object) -> object:
    """The inverse of :func:`to_plain`. What was left out comes back as None.

    Raises:
        ValueError: If it names an unknown kind or an unregistered class.
        ImportError: If the library of a class is not installed here.
    """
    if isinstance(value, list | tuple):
        return type(value)(from_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    if KIND not in value:
        return {key: from_plain(item) for key, item in value.items()}
    match value[KIND]:
        case 'dict':
            return {from_plain(k): from_plain(item) for k, item in value['items']}
        case 'set':
            return {from_plain(item) for item in value['items']}
        case 'path':
            return Path(value['text'])
        case 'array':
            return _array_from(value)
        case 'element':
            return _element_from(value)
        case 'object':
            return _object_from(value)
        case 'left_out':
            return None
    raise ValueError(f'Unknown kind {value[KIND]!r} in a saved batch.')


def left_out(plain: object, path: str = '') -> Iterator[str]:
    """``path: type`` of everything that :func:`to_plain` could not keep."""
    if isinstance(plain, dict) and plain.get(KIND) == 'left_out':
        yield f'{path}: {plain["type"]}'
    elif isinstance(plain, dict):
        for key, item in plain.items():
            yield from left_out(item, f'{path}.{key}' if path else str(key))
    elif isinstance(plain, list | tuple):
        for i, item in enumerate(plain):
            yield from left_out(item, f'{path}[{i}]')


def shallow_copy(value: object) -> object:
    """A copy of the containers and data samples in ``value``, sharing their tensors.

    A model that pads a ground truth or sets a shape in a data sample leaves the copy
    as the loader gave it.
    """
    if isinstance(value, BaseDataElement):
        copy = object.__new__(type(value))
        for name, item in value.__dict__.items():
            copy.__dict__[name] = set(item) if name in (
                '_data_fields', '_metainfo_fields') else shallow_copy(item)
        return copy
    if type(value) is dict:
        return {key: shallow_copy(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([shallow_copy(item) for item in value])
    return value


def _compact(tensor: Tensor) -> Tensor:
    """Detached, and without the rest of a storage that it is a part of."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    size = tensor.numel() * tensor.element_size()
    return tensor if tensor.untyped_storage().nbytes() == size else tensor.clone()


def _plain_dict(value: Mapping) -> dict:
    items = {key: to_plain(item) for key, item in value.items()}
    if all(type(key) in _SIMPLE for key in items) and KIND not in items:
        return items
    return {KIND: 'dict', 'items': [
        (to_plain(key), item) for key, item in items.items()]}


def _plain_array(array: np.ndarray | np.generic) -> dict:
    return {KIND: 'array', 'dtype': array.dtype.str, 'shape': tuple(array.shape),
            'bytes': array.tobytes(), 'scalar': isinstance(array, np.generic)}


def _array_from(plain: dict) -> np.ndarray | np.generic:
    dtype = np.dtype(plain['dtype'])
    if dtype.hasobject:
        raise ValueError(f'An array of {dtype} in a saved batch is no data.')
    array = np.frombuffer(plain['bytes'], dtype).reshape(plain['shape']).copy()
    return array[()] if plain['scalar'] else array


def _plain_element(element: BaseDataElement) -> dict:
    name = next(c.__name__ for c in type(element).__mro__ if _is_registered(c))
    own = element.__dict__
    # gt_instances, a property, is listed beside _gt_instances, which holds the value.
    stored = {kind: {key: to_plain(own[key]) for key in sorted(names) if key in own}
              for kind, names in (('metainfo', element._metainfo_fields),
                                  ('data', element._data_fields))}
    return {KIND: 'element', 'class': name, **stored,
            'properties': sorted(element._data_fields - own.keys())}


def _element_from(plain: dict) -> BaseDataElement:
    element = _registered(plain['class'], BaseDataElement)()
    for kind in ('metainfo', 'data'):
        for name, item in plain[kind].items():
            BaseDataElement.set_field(element, from_plain(item), name, field_type=kind)
    element._data_fields.update(plain['properties'])
    return element


def _plain_object(value: object) -> dict:
    kind = type(value)
    if not _is_registered(kind):
        return {KIND: 'left_out', 'type': f'{kind.__module__}.{kind.__qualname__}'}
    _, arguments = _CLASSES[kind.__name__]
    arguments = arguments or {field.name: field.name for field in fields(value)}
    return {KIND: 'object', 'class': kind.__name__, 'arguments': {
        key: to_plain(getattr(value, name)) for key, name in arguments.items()}}


def _object_from(plain: dict) -> object:
    kind = _registered(plain['class'])
    arguments = from_plain(plain['arguments'])
    _, expected = _CLASSES[plain['class']]
    return kind(**{k: v for k, v in arguments.items() if not expected or k in expected})


def _is_registered(kind: type) -> bool:
    module, _ = _CLASSES.get(kind.__name__, ('', None))
    return kind.__module__.partition('.')[0] == module.partition('.')[0]


def _registered(name: str, base: type = object) -> type:
    if name not in _CLASSES:
        MODELS.import_from_location()  # Methods register classes of their own.
    if name not in _CLASSES:
        raise ValueError(f'A saved batch names the class {name!r}; only '
                         f'{sorted(_CLASSES)} can be built from it.')
    module, _ = _CLASSES[name]
    kind = getattr(import_module(module), name)
    if not issubclass(kind, base):
        raise ValueError(f'A saved batch uses {name} as a {base.__name__}.')
    return kind
