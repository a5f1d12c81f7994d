"""Batches as plain data: tensors, numbers, text and containers of them.

A pickled data sample names a class to import when it is read. Here it becomes a dict
that names one of the classes below; nothing else is made when it is read.
"""
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

#: Marks a dict that stands for another object.
KIND = '__kind__'

#: The data samples that can be kept. One of another class is kept as the closest of
#: its base classes here.
ELEMENTS = {
    name: module for module, names in {
        'mmengine.structures': ('BaseDataElement', 'InstanceData', 'PixelData',
                                'LabelData'),
        'mmdet.structures': ('DetDataSample', 'TrackDataSample', 'ReIDDataSample'),
        'mmseg.structures': ('SegDataSample',),
        'mmpretrain.structures': ('DataSample', 'MultiTaskDataSample'),
    }.items() for name in names}
#: Boxes, masks and views: class, module and what its constructor takes, by attribute.
OBJECTS = dict(
    View=('mmcontrast.structures', ()),
    ViewBatch=('mmcontrast.structures', ()),
    HorizontalBoxes=('mmdet.structures.bbox', dict(data='tensor')),
    BitmapMasks=('mmdet.structures.mask', dict(
        masks='masks', height='height', width='width')),
    PolygonMasks=('mmdet.structures.mask', dict(
        masks='masks', height='height', width='width')))
_SIMPLE = (type(None), bool, int, float, complex, str, bytes)


def to_plain(value: object) -> object:
    """``value`` with everything in it as plain data.

    What is no data (a function, an object of an unknown class) becomes a note of its
    type; :func:`left_out` lists these.
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
        ValueError: If it names a kind or class that is not one of ours.
        ImportError: If the library of a class is not installed here.
    """
    if isinstance(value, list | tuple):
        return type(value)(from_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    if KIND not in value:
        return {key: from_plain(item) for key, item in value.items()}
    make = dict(dict=_dict_from, set=_set_from, array=_array_from, path=_path_from,
                element=_element_from, object=_object_from, left_out=lambda _: None)
    if value[KIND] not in make:
        raise ValueError(f'Unknown kind {value[KIND]!r} in a saved batch; this version '
                         f'knows {sorted(make)}.')
    return make[value[KIND]](value)


def left_out(plain: object, place: str = '') -> Iterator[str]:
    """``place: type`` of everything that :func:`to_plain` could not keep."""
    if isinstance(plain, dict) and plain.get(KIND) == 'left_out':
        yield f'{place}: {plain["type"]}'
    elif isinstance(plain, dict):
        for key, item in plain.items():
            yield from left_out(item, f'{place}.{key}' if place else str(key))
    elif isinstance(plain, list | tuple):
        for i, item in enumerate(plain):
            yield from left_out(item, f'{place}[{i}]')


def shallow_copy(value: object) -> object:
    """Containers and data samples anew, the tensors in them shared.

    A model that pads a ground truth or notes a shape in a data sample leaves the copy
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
    """Detached, and without the rest of a storage that it is a small part of."""
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


def _dict_from(plain: dict) -> dict:
    return {from_plain(key): from_plain(item) for key, item in plain['items']}


def _set_from(plain: dict) -> set:
    return {from_plain(item) for item in plain['items']}


def _path_from(plain: dict) -> Path:
    return Path(plain['text'])


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
    name = next(c.__name__ for c in type(element).__mro__ if _known(c, ELEMENTS))
    own = element.__dict__
    # gt_instances, a property, is listed beside _gt_instances, which holds the value.
    stored = {kind: {key: to_plain(own[key]) for key in sorted(names) if key in own}
              for kind, names in (('metainfo', element._metainfo_fields),
                                  ('data', element._data_fields))}
    return {KIND: 'element', 'class': name, **stored,
            'properties': sorted(element._data_fields - own.keys())}


def _element_from(plain: dict) -> BaseDataElement:
    element = _class(plain['class'], ELEMENTS)()
    for kind in ('metainfo', 'data'):
        for name, item in plain[kind].items():
            BaseDataElement.set_field(element, from_plain(item), name, field_type=kind)
    element._data_fields.update(plain['properties'])
    return element


def _plain_object(value: object) -> dict:
    kind = type(value)
    if not _known(kind, OBJECTS):
        return {KIND: 'left_out', 'type': f'{kind.__module__}.{kind.__qualname__}'}
    arguments = OBJECTS[kind.__name__][1] or {f.name: f.name for f in fields(value)}
    return {KIND: 'object', 'class': kind.__name__, 'arguments': {
        key: to_plain(getattr(value, name)) for key, name in arguments.items()}}


def _object_from(plain: dict) -> object:
    kind = _class(plain['class'], OBJECTS)
    arguments = from_plain(plain['arguments'])
    if not is_dataclass(kind):
        expected = set(OBJECTS[plain['class']][1])
        arguments = {k: v for k, v in arguments.items() if k in expected}
    return kind(**arguments)


def _known(kind: type, table: Mapping) -> bool:
    if kind.__name__ not in table:
        return False
    module = table[kind.__name__]
    module = module if isinstance(module, str) else module[0]
    return kind.__module__.partition('.')[0] == module.partition('.')[0]


def _class(name: str, table: Mapping) -> type:
    if name not in table:
        raise ValueError(f'A saved batch names the class {name!r}; only '
                         f'{sorted(table)} are made from it.')
    module = table[name] if isinstance(table[name], str) else table[name][0]
    return getattr(import_module(module), name)
