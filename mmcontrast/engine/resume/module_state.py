"""Find and restore what modules change in training outside parameters and buffers."""
import enum
import types
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.utils import ManagerMixin
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from ..distributed.unwrap import unwrap_model
from .plain_state import fingerprint, is_plain, restored, to_data

# torch's own attributes of every module; the training loop sets the mode.
_OF_TORCH = frozenset(vars(nn.Module()))
# What a network only refers to: it belongs to others.
_FOREIGN = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
            types.ModuleType, types.GeneratorType, enum.Enum, ManagerMixin, Runner,
            Optimizer, Dataset, DataLoader, Tensor, np.ndarray)
# Lists and dicts in each other hold objects down to here.
_DEPTH = 20

_LIBRARIES = ('mmengine', 'mmcv', 'mmcontrast', 'mmdet', 'mmseg', 'mmpretrain')
_NONE = fingerprint(None)


class _Attribute(NamedTuple):
    """A place that holds state: ``places[key]``, of the object at ``path``."""

    path: str
    key: str
    places: dict

    @property
    def name(self) -> str:
        return f'{self.path}.{self.key}'.lstrip('.')

    @property
    def value(self) -> object:
        return self.places[self.key]


class ModuleState:
    """Attributes of the modules of a network that training changes.

    mmengine saves parameters and persistent buffers. Some modules keep more: the image
    size of mmdet's ``BatchSyncRandomResize``, the histories and thresholds of its
    ``DynamicRoIHead``, a counter, a buffer that is not persistent. Also found are those
    of the plain objects that a module holds, such as the assigner of a head.

    Args:
        model: The network. What its attributes are now is what another process has when
            it begins; only what differs later is state.
        others: Objects that take part in its training, by a name.
    """

    def __init__(self, model: nn.Module, **others: object) -> None:
        self.model, self.others = unwrap_model(model), others
        self._first = {spot.name: fingerprint(spot.value)
                       for spot in _attributes(self.model, others)}
        self._paths = {path for path, _ in _objects(self.model, others)}
        # Lists of weights, as an average of them keeps, are no state of their own.
        self._weights = {_storage(tensor) for module in self.model.modules()
                         for tensor in _saved_tensors(module)}
        self._early: dict[str, weakref.ref] = {}
        self._early_marks: dict[str, bytes] = {}

    def note_new_objects(self) -> None:
        """Note the objects that the first step made; those that stay are state."""
        self._early_marks = {
            spot.name: fingerprint(spot.value)
            for spot in _attributes(self.model, self.others)
            if isinstance(spot.value, bool) or not is_plain(spot.value)}
        for path, part in _objects(self.model, self.others):
            if path not in self._paths:
                with suppress(TypeError):
                    self._early[path] = weakref.ref(part)

    def changed(self) -> tuple[dict[str, object], list[str]]:
        """What has changed since the start.

        Returns:
            The new values by name, for :meth:`restore`, and the names of attributes
            whose values are no plain data.
        """
        values, lost, made_by = {}, [], {}
        results = {path for path, part in _objects(self.model, self.others)
                   if path not in self._paths and self._is_result(path, part)}
        for spot in _attributes(self.model, self.others):
            value, first = spot.value, self._first.get(spot.name)
            with suppress(RecursionError):  # A list that holds itself.
                if self._refers_to_weights(value):
                    continue
            mark = fingerprint(value)
            # How far an iterator got cannot be seen.
            if mark == first and not isinstance(value, Iterator):
                continue
            # An object that appeared later is not there when a run begins.
            if is_plain(value) and spot.path in self._paths:
                values[spot.name] = to_data(value)
            elif spot.path in results:
                continue
            elif spot.path in self._paths and first in (None, _NONE) and (
                    mark == self._early_marks.get(spot.name)
                    and not isinstance(value, Iterator)):
                # Made by the first step, as that of a resumed run will do again.
                made_by.setdefault(spot.path, False)
            else:
                lost.append(spot.name)
                made_by[self._known(spot.path)] = True
        # Such as "is built": the resumed run would not make what it lacks.
        flags = [name for name, value in values.items() if isinstance(value, bool)
                 and fingerprint(value) == self._early_marks.get(name)
                 and name.rpartition('.')[0] in made_by]
        for name in flags:
            del values[name]
            if made_by[name.rpartition('.')[0]]:
                lost.append(name)
        return values, sorted(lost)

    def _known(self, path: str) -> str:
        """The object at a path, or the one that led to it when training began."""
        while path not in self._paths:
            path = path.rpartition('.')[0]
        return path

    def _refers_to_weights(self, value: object) -> bool:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple | set | deque):
            return any(map(self._refers_to_weights, value))
        return isinstance(value, Tensor) and _storage(value) in self._weights

    def _is_result(self, path: str, part: object) -> bool:
        """Whether a new object is of the last step, such as mmdet's positive samples.

        It holds tensors, and another one was there after the first step.
        """
        early = self._early.get(path)
        return (early is None or early() is not part) and any(
            isinstance(value, Tensor) for value in vars(part).values())

    def restore(self, values: Mapping[str, object]) -> list[str]:
        """Set the attributes to the values of another process.

        Returns:
            Names that this model does not have.
        """
        device = next((p.device for p in self.model.parameters()), None)
        objects, missing = dict(_objects(self.model, self.others)), []
        known = {spot.name: spot for spot in _attributes(self.model, self.others)}
        for name, data in values.items():
            path, _, key = name.rpartition('.')
            spot = known.get(name)
            if spot is None and path in objects:
                spot = _Attribute(path, key, vars(objects[path]))
            if spot is None:
                missing.append(name)
            else:
                spot.places[key] = restored(spot.places.get(key), data, device)
        return missing


def _saved_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of a module that are in its state dict."""
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None and name not in module._non_persistent_buffers_set:
            yield tensor


def _storage(tensor: Tensor) -> int:
    """Where the values of a tensor are; unique for those without any."""
    try:
        return tensor.untyped_storage().data_ptr() or -id(tensor)
    except (RuntimeError, NotImplementedError):
        return -id(tensor)


class HookState:
    """Numbers, text and lists that hooks change, of no library, that save nothing.

    What a hook remembers may be about things that happened in its process: it is not
    restored behind its back, but named.
    """

    def __init__(self, runner: Runner) -> None:
        self._hooks = [
            hook for hook in runner.hooks
            if type(hook).__module__.partition('.')[0] not in _LIBRARIES
            and type(hook).before_save_checkpoint is Hook.before_save_checkpoint]
        self._first = self._marks()

    def changed(self) -> list[str]:
        """Names of the attributes that have changed since the start."""
        return sorted({key[1] for key, mark in self._marks().items()
                       if self._first.get(key) != mark})

    def _marks(self) -> dict[tuple[int, str], bytes]:
        return {(k, f'{type(hook).__name__}.{key}'): fingerprint(value)
                for k, hook in enumerate(self._hooks)
                for key, value in vars(hook).items()
                if is_plain(value) and not _holds_tensors(value)}


def _holds_tensors(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_tensors, value.values()))
    if isinstance(value, list | tuple | set | deque):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor)


def _attributes(model: nn.Module, others: Mapping[str, object]) -> Iterator[_Attribute]:
    """All attributes that may be state, of the modules and of what they hold."""
    registered = set(model.modules())
    for path, part in _objects(model, others):
        is_module = isinstance(part, nn.Module)
        if is_module and part in registered:
            tensors = [(part._buffers, part._non_persistent_buffers_set)]
        elif is_module:  # A network that its owner hides from torch, in a list.
            tensors = [(part._buffers, part._buffers),
                       (part._parameters, part._parameters)]
        else:
            tensors = []
        for places, names in tensors:
            yield from (_Attribute(path, name, places) for name in names
                        if places.get(name) is not None)
        for key, value in vars(part).items():
            if not (is_module and key in _OF_TORCH or _is_result(value)
                    or isinstance(value, nn.Module | types.MethodType)
                    or any(True for _ in _inner(value))):
                yield _Attribute(path, key, vars(part))


def _is_result(value: object) -> bool:
    """Whether it is an output of the last step: the next one replaces it."""
    return is_plain(value) and _is_computed(value)


def _is_computed(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_computed, value))
    if isinstance(value, dict):
        return bool(value) and all(map(_is_computed, value.values()))
    return isinstance(value, Tensor) and value.grad_fn is not None


def _objects(model: nn.Module, others: Mapping[str, object]
             ) -> Iterator[tuple[str, object]]:
    """The modules and the objects that they hold, with the path that leads there."""
    queue, seen = deque([*model.named_modules(), *others.items()]), set()
    while queue:
        path, part = queue.popleft()
        if id(part) not in seen:
            seen.add(id(part))
            yield path, part
            for key, value in vars(part).items():
                if isinstance(part, nn.Module) and key in _OF_TORCH:
                    continue
                for place, inner in _inner(value):
                    found = f'{path}.{key}{place}'.lstrip('.')
                    queue += (inner.named_modules(prefix=found) if isinstance(
                        inner, nn.Module) else [(found, inner)])


def _inner(value: object) -> Iterator[tuple[str, object]]:
    """Objects with attributes of their own in a value, and where in it they are."""
    queue, seen = deque([('', value, 0)]), set()
    while queue:
        place, part, depth = queue.popleft()
        if depth > _DEPTH or is_plain(part):
            continue
        if isinstance(part, list | tuple | deque | dict):
            if id(part) not in seen:  # It may hold itself.
                seen.add(id(part))
                items = part.items() if isinstance(part, dict) else enumerate(part)
                queue += [(f'{place}[{key!r}]', inner, depth + 1)
                          for key, inner in items]
        elif isinstance(part, nn.Module):
            # The wrapped model itself is known, and what the wrapper counts is its own.
            if not is_model_wrapper(part):
                yield place, part
        elif hasattr(part, '__dict__') and not isinstance(part, _FOREIGN) and (
                type(part).__module__.partition('.')[0] not in ('torch', 'builtins')):
            yield place, part
