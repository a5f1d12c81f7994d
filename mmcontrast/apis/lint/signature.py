"""Collect the arguments that a registered class or function takes."""
import ast
import inspect
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace

from mmengine.utils import ManagerMixin

ANYTHING = inspect.Parameter.empty


@dataclass
class Signature:
    """Arguments by name.

    Attributes:
        hints: Annotation of every argument, ``ANYTHING`` without one.
        defaults: Default of every argument that has one.
        required: Arguments that must be given.
        open: Whether it also takes names that cannot be determined.
    """

    hints: dict[str, object] = field(default_factory=dict)
    defaults: dict[str, object] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    open: bool = False


@cache
def signature_of(target: Callable) -> Signature:
    """Arguments of a class or function, those behind ``**kwargs`` included.

    ``**kwargs`` that are only passed to ``super().__init__`` are followed to the base
    classes, and those that are only passed to the class of a part (``Part(**kwargs)``)
    to that one; names that the code takes out of them (``kwargs.pop('name')``) count;
    if they are used in any other way, the signature is open.
    """
    if isinstance(target, partial) or is_placeholder(target):
        return Signature(open=True)
    if not inspect.isclass(target):
        signature = Signature()
        _add(signature, target, skip_self=inspect.ismethod(target))
        return signature
    signature = _of_class(target)
    if issubclass(target, ManagerMixin):
        # get_instance(name, **kwargs) builds it.
        signature.hints.setdefault('name', str)
        signature.required.discard('name')
    return signature


def is_placeholder(target: Callable) -> bool:
    """Whether mmpretrain registered this for a class whose library is missing."""
    return getattr(target, '__name__', '') == 'ask_install'


def _of_class(cls: type) -> Signature:
    signature = Signature()
    bases = [base for base in cls.__mro__
             if '__init__' in vars(base) and base is not object]
    if not bases:
        signature.open = any('__new__' in vars(b) for b in cls.__mro__[:-1])
    supplied = Supplied()
    while bases and supplied is not None:
        base = bases.pop(0)
        supplied = _add(signature, vars(base)['__init__'], supplied=supplied)
        if supplied is not None and supplied.beyond:
            # super(Other, self) continues after Other.
            while bases and bases[0].__name__ != supplied.beyond \
                    and _is_before(cls, bases[0], supplied.beyond):
                bases.pop(0)
            if bases and bases[0].__name__ == supplied.beyond \
                    and base.__name__ != supplied.beyond:
                bases.pop(0)
    return signature


def _is_before(cls: type, base: type, name: str) -> bool:
    order = [known.__name__ for known in cls.__mro__]
    return name in order and order.index(base.__name__) < order.index(name)


@dataclass
class Supplied:
    """What ``super().__init__(...)`` is called with, beside ``**kwargs``.

    Attributes:
        num_positional: Number of arguments without a name.
        names: Those with one.
        anything: Whether others that cannot be determined are given too.
        beyond: ``Other`` of ``super(Other, self)``; '' for a plain ``super()``.
    """

    num_positional: int = 0
    names: set[str] = field(default_factory=set)
    anything: bool = False
    beyond: str = ''


def _add(signature: Signature, function: Callable, skip_self: bool = True,
         supplied: Supplied | None = None) -> Supplied | None:
    """Add the arguments of one function.

    Returns:
        What it calls its base class with; None if it passes no ``**kwargs`` on.
    """
    supplied = supplied or Supplied()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        signature.open = True
        return None
    hints = _hints(function)
    for name in _former_names(function):
        signature.hints.setdefault(name, ANYTHING)
    if skip_self and inspect.isfunction(function) and parameters \
            and parameters[0].name in ('self', 'cls'):
        parameters = parameters[1:]
    keywords = None
    for position, parameter in enumerate(parameters):
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            keywords = name
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL,
                              parameter.POSITIONAL_ONLY):
            continue
        if name in signature.hints:
            continue
        signature.hints[name] = hints.get(name, ANYTHING)
        if parameter.default is not parameter.empty:
            signature.defaults[name] = parameter.default
        elif not (supplied.anything or name in supplied.names
                  or position < supplied.num_positional):
            signature.required.add(name)
    if keywords is None:
        return None
    if not skip_self or function.__name__ != '__init__':
        signature.open = True
        return None
    uses = _uses_of(function, keywords)
    if uses is None:
        signature.open = True
        return None
    taken, passed_on, part = uses
    for name in taken:
        signature.hints.setdefault(name, ANYTHING)
    if part is not None:
        _add_part(signature, function, part)
    elif passed_on is None:
        signature.open = True
    return passed_on


def _add_part(signature: Signature, function: Callable, call: ast.Call) -> None:
    """Add the arguments of a class beside those that ``function`` calls it with."""
    part = getattr(inspect.unwrap(function), '__globals__', {}).get(call.func.id)
    if not inspect.isclass(part):
        signature.open = True
        return
    inner = signature_of(part)
    given = {*list(inner.hints)[:len(call.args)], *(k.arg for k in call.keywords)}
    for name in inner.hints.keys() - given - signature.hints.keys():
        signature.hints[name] = inner.hints[name]
        if name in inner.defaults:
            signature.defaults[name] = inner.defaults[name]
    signature.required |= inner.required - given
    signature.open |= inner.open


def _hints(function: Callable) -> dict[str, object]:
    """Annotations that can be evaluated here."""
    function = inspect.unwrap(function)
    found = {}
    for name, hint in getattr(function, '__annotations__', {}).items():
        alone = SimpleNamespace(__annotations__={name: hint})
        try:
            found |= typing.get_type_hints(
                alone, getattr(function, '__globals__', None))
        except Exception:
            # Evaluating an annotation runs code of other libraries, which may raise
            # anything; an argument without a readable one is not checked.
            continue
    return found


def _former_names(function: Callable) -> set[str]:
    """Former names that mmengine's ``deprecated_api_warning`` still accepts."""
    names = set()
    while hasattr(function, '__wrapped__'):
        for cell in function.__closure__ or ():
            if isinstance(cell.cell_contents, dict):
                names.update(k for k in cell.cell_contents if isinstance(k, str))
        function = function.__wrapped__
    return names


def _uses_of(init: Callable, keywords: str
             ) -> tuple[set[str], Supplied | None, ast.Call | None] | None:
    """What an ``__init__`` does with its ``**keywords``.

    Returns:
        Names that it takes out of them, what else it calls the base class with (None
        if they are not passed on to it), and the call of another class that they are
        passed to instead. None if their use cannot be followed.
    """
    try:
        source = inspect.getsource(inspect.unwrap(init))
        tree = ast.parse(textwrap.dedent(source))
    except (OSError, TypeError, SyntaxError):
        return None
    taken, passed_on, part, known = set(), None, None, set()
    for node in ast.walk(tree):
        for handed in node.keywords if isinstance(node, ast.Call) else ():
            if handed.arg is not None or not isinstance(
                    handed.value, ast.Name) or handed.value.id != keywords:
                continue
            if _is_base_init(node.func):
                known.add(id(handed.value))
                passed_on = _supplied(node, node.func.value)
            elif isinstance(node.func, ast.Name) and part is None:
                known.add(id(handed.value))
                part = node
        name = _taken_out(node, keywords)
        if name is not None:
            taken.add(name)
            known |= {id(n) for n in ast.walk(node) if isinstance(n, ast.Name)
                      and n.id == keywords}
    others = [n for n in ast.walk(tree) if isinstance(n, ast.Name)
              and n.id == keywords and id(n) not in known]
    if others or (part and passed_on):
        return None
    return taken, passed_on, part


def _is_base_init(func: ast.expr) -> bool:
    return (isinstance(func, ast.Attribute) and func.attr == '__init__'
            and isinstance(func.value, ast.Call)
            and isinstance(func.value.func, ast.Name) and func.value.func.id == 'super')


def _supplied(call: ast.Call, base: ast.Call) -> Supplied:
    return Supplied(
        beyond=getattr(base.args[0], 'id', '') if base.args else '',
        num_positional=len(call.args),
        names={k.arg for k in call.keywords if k.arg},
        anything=any(isinstance(a, ast.Starred) for a in call.args)
        or sum(k.arg is None for k in call.keywords) > 1)


def _taken_out(node: ast.AST, keywords: str) -> str | None:
    """``'name'`` of ``kwargs.pop('name')``, ``kwargs['name']``, ``'name' in kwargs``"""
    def is_kwargs(n: ast.AST) -> bool:
        return isinstance(n, ast.Name) and n.id == keywords

    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and is_kwargs(node.func.value) and node.args
            and node.func.attr in ('pop', 'get', 'setdefault')):
        constant = node.args[0]
    elif isinstance(node, ast.Subscript) and is_kwargs(node.value):
        constant = node.slice
    elif isinstance(node, ast.Compare) and len(node.comparators) == 1 \
            and is_kwargs(node.comparators[0]):
        constant = node.left
    else:
        return None
    return constant.value if isinstance(constant, ast.Constant) and isinstance(
        constant.value, str) else None
