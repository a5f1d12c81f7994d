"""Compare the arguments in a config with the signature of the class it names."""
import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from ...errors import closest, suggest
from .fields import ALL_REGISTRIES, FORMER_ARGUMENTS, Field
from .issue import ConfigIssue, is_typo_of, listed
from .resolve import find
from .signature import ANYTHING, Signature, signature_of
from .source_code import adds, reads

# Libraries with annotations that can be relied on.
_EXACT = ('torch.', 'mmengine.', 'mmcontrast.')
_LAYERS = ('torch.', 'mmcv.cnn', 'mmcv.ops')
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable,
              collections.abc.Collection)
_NUMBERS = (int, float)
# Arguments without annotation that are paths.
_PATHS = ('checkpoint', 'data_root', '_dir', '_path')
# Arguments that take numbers and dicts too, although only str is written.
_TOO_NARROW = ('loss_scale',)


def wrong_arguments(node: dict, target: Callable, path: str, field: Field,
                    owners: tuple, scopes: Sequence[str] = ()
                    ) -> Iterator[ConfigIssue]:
    """Unknown, missing and mistyped arguments of one dict.

    Args:
        node: The dict.
        target: The class or function that it names.
        path: Its dotted path.
        field: How it is built.
        owners: The classes that it is an argument of, the outermost first. They may
            remove or add keys before they build it.
        scopes: Where types are looked up that the class builds.
    """
    signature = _with_built(signature_of(target), node, field, scopes)
    given = {key: value for key, value in node.items()
             if key not in ('type', '_scope_') and key not in field.taken}
    typos_of = set()
    for key, value in given.items():
        if key in signature.hints:
            yield from wrong_type(signature, key, value, target, path)
            continue
        near = _misspelled(str(key), signature, target, owners)
        if near is not None:
            typos_of.add(near)
            yield _unknown(path, key, near, target, signature)
    missing = signature.required - set(given) - field.added - typos_of
    # Parts of the model build these, and add to them.
    passed_on = '.train_cfg.' in path or '.test_cfg.' in path
    all_given = field.complete and not passed_on and _built_alone(target, owners)
    for key in sorted(missing) if all_given else ():
        if not adds(owners, key):
            yield ConfigIssue(path, f'{_full_name(target)} needs the argument {key!r}; '
                              'it is not given.')


def _with_built(signature: Signature, node: dict, field: Field, scopes: Sequence[str]
                ) -> Signature:
    """The signature with what the type takes that the class builds of the rest."""
    if signature.built is None:
        return signature
    key, default = signature.built
    name = node.get(key) or default
    built = name if callable(name) else find(
        name, [*field.registries, *ALL_REGISTRIES], scopes)
    inner = Signature(open=True) if built is None else signature_of(built)
    # The rest of its arguments comes from the class.
    return replace(signature.joined_by(inner), required=signature.required)


def _misspelled(key: str, signature: Signature, target: Callable, owners: tuple
                ) -> str | None:
    """None if ``key`` is allowed; else the closest argument, '' without one."""
    if signature.open:
        near = is_typo_of(key, signature.hints, True)
        return near if near and not reads((*owners, target), key) else None
    if reads(owners, key):
        return None
    former = FORMER_ARGUMENTS.get(key)
    near = closest(key, signature.hints) if former not in signature.hints else [former]
    return next(iter(near), '')


def wrong_type(signature: Signature, key: str, value: object, target: Callable,
               path: str) -> Iterator[ConfigIssue]:
    """An issue if ``value`` does not fit the annotation of argument ``key``."""
    hint = signature.hints[key]
    if hint is ANYTHING and key.endswith(_PATHS):
        hint = str
    if key in _TOO_NARROW and isinstance(value, (dict, *_NUMBERS)):
        return
    exact = (target.__module__ or '').startswith(_EXACT)
    if fits(value, hint, exact) or _matches_default(value, signature.defaults.get(key)):
        return
    as_text = (f' As text it is {str(value)!r}, on a command line "{key}=\'...\'".'
               if hint is str and isinstance(value, _NUMBERS) else '')
    yield ConfigIssue(
        f'{path}.{key}'.removeprefix('.'),
        f'found {value!r} ({type(value).__name__}), {_full_name(target)} takes '
        f'{describe_annotation(hint)}.{as_text}')


def _built_alone(target: Callable, owners: tuple) -> bool:
    """Whether a config must give all arguments.

    Functions get more when they are called; layers get their sizes from the module that
    they are part of.
    """
    layer = bool(owners) and (target.__module__ or '').startswith(_LAYERS)
    return inspect.isclass(target) and not layer


def _matches_default(value: object, default: object) -> bool:
    """Whether ``value`` has the type of the default, which an annotation may lack."""
    return default is not None and isinstance(value, type(default))


def _unknown(path: str, key: str, near: str | None, target: Callable,
             signature: Signature) -> ConfigIssue:
    hint = suggest([near] if near else []) or '.'
    return ConfigIssue(
        f'{path}.{key}', f'{_full_name(target)} takes no argument {key!r}{hint} It '
        f'takes {listed(set(signature.hints)) or "none"}.')


def _full_name(target: Callable) -> str:
    name = getattr(target, '__name__', str(target))
    module = getattr(target, '__module__', '')
    return f'{name} ({module})'


def fits(value: object, hint: object, exact: bool = True) -> bool:
    """Whether ``value`` may be meant by the annotation ``hint``.

    A list is a tuple, a whole number a float, a flag a number; None and whatever a
    config cannot spell out (classes, arrays, callables) fit everywhere.

    Args:
        exact: False for code whose annotations are known to be too narrow: one number
            for a list of them, several for one, a fraction for a whole number all pass.
    """
    if value is None or hint is ANYTHING or hint is typing.Any:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part, exact) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return False
    kind = origin or hint
    if kind in _SEQUENCES:
        return _fits_sequence(value, typing.get_args(hint), exact)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return not isinstance(value, (str, *_NUMBERS))
    if kind is Tensor:
        return not isinstance(value, str | Mapping)
    if kind in (bool, int, float, str):
        return _fits_builtin(value, kind, exact)
    return True


def _fits_builtin(value: object, kind: type, exact: bool) -> bool:
    if kind is str:
        return not isinstance(value, (list, tuple, Mapping, *_NUMBERS))
    if isinstance(value, str | Mapping):
        return False
    if isinstance(value, list | tuple):
        return not exact and kind is not bool and all(
            _fits_builtin(item, kind, exact) for item in value)
    if kind is int and exact and isinstance(value, float):
        return value.is_integer()
    return True


def _fits_sequence(value: object, args: tuple, exact: bool) -> bool:
    if isinstance(value, _NUMBERS):
        return not exact and str not in args and not isinstance(value, bool)
    if isinstance(value, str):
        # A string is a sequence of strings, but never meant as one.
        return False
    # Of the items only this much is certain: text is no number.
    numbers = bool(args) and all(hint in (*_NUMBERS, Ellipsis) for hint in args)
    return not (numbers and isinstance(value, list | tuple)
                and any(isinstance(item, str) for item in value))


def describe_annotation(hint: object) -> str:
    """``int or float`` of the annotation ``int | float``."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        return ' or '.join(dict.fromkeys(
            describe_annotation(part) for part in parts if part is not type(None)))
    if origin is typing.Literal:
        return 'one of ' + ', '.join(map(repr, typing.get_args(hint)))
    if isinstance(hint, type) and origin is None:
        return hint.__name__
    return str(hint).replace('typing.', '')
