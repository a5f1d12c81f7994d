"""Name what the ``type`` of a config node means: a name, a class or a function.

Configs in the text style of OpenMMLab hold names, new-style ones (``read_base()``,
imports) classes and functions. mmengine imports those only when a node is asked for
them, and writes their full names where it writes a config.
"""
import functools
import inspect
import itertools
import sys
from contextlib import suppress
from operator import attrgetter
from types import ModuleType, NoneType

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject

#: What mmengine puts in place of something imported in a new-style config.
LAZY = (LazyAttr, LazyObject)

#: Names of mmengine's initializer that reads a checkpoint.
PRETRAINED = ('Pretrained', 'PretrainedInit')


def full_name(kind: object) -> str:
    """``torch.optim.SGD`` of a class or function; a name is returned as it is.

    Nothing is imported for it.
    """
    if isinstance(kind, str):
        return kind
    if isinstance(kind, LazyObject) and kind._imported is None:
        return kind.module
    if isinstance(kind, LAZY):
        return f'{kind.module}.{kind}'
    if isinstance(kind, ModuleType):
        return kind.__name__
    if isinstance(kind, functools.partial):
        return full_name(kind.func)
    owner = getattr(kind, '__self__', None)
    if inspect.isclass(owner):  # AutoTokenizer.from_pretrained
        return f'{full_name(owner)}.{kind.__name__}'
    module = getattr(kind, '__module__', None) or 'builtins'
    name = getattr(kind, '__qualname__', None) or type(kind).__qualname__
    for package in itertools.accumulate(module.split('.'), '{}.{}'.format):
        # The usual name, torch.optim.SGD; mmengine finds no class in a module such as
        # smooth_l1_loss, of which a package exports a function of that name.
        with suppress(AttributeError):
            if attrgetter(name)(sys.modules.get(package)) is kind:
                module = package
                break
    return f'{module}.{name}' if module != 'builtins' else name


def is_code(value: object) -> bool:
    """Whether a value is a class, a function or a module, imported or yet to be."""
    return (isinstance(value, (*LAZY, ModuleType, functools.partial))
            or inspect.isclass(value) or inspect.isroutine(value))


def type_name(node: dict, default: str = '') -> str:
    """Last part of the type's name: ``FPN`` of ``'mmdet.FPN'`` and of the class."""
    kind = dict.get(node, 'type', default)  # ConfigDict.get would import it.
    return full_name(kind).rpartition('.')[2]


def with_names(config: Config) -> Config:
    """The config to write or compare: names in place of classes and functions.

    Imported values (``num_classes=NUM_CLASSES``) are written as they are.

    mmengine cannot write a config with a function in it, and writes the names of
    classes without quotes, which is no data.
    """
    copy = config.copy()
    object.__setattr__(copy, '_cfg_dict', ConfigDict(named(config._to_lazy_dict())))
    return copy


def _value_of(lazy: LazyAttr | LazyObject) -> object:
    """The plain value that was imported; ``lazy`` itself for anything else."""
    value = lazy
    if lazy.module in sys.modules:
        with suppress(AttributeError, ImportError):
            value = lazy.build()
    plain = isinstance(value, str | int | float | list | tuple | dict | NoneType)
    return value if plain else lazy


def named(value: object) -> object:
    """A value with names in place of the classes and functions in it."""
    value = _value_of(value) if isinstance(value, LAZY) else value
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(named(item) for item in value)
    return full_name(value) if is_code(value) else value
