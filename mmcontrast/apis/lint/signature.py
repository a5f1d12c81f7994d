"""Collect the arguments that a registered class or function takes."""
import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import SimpleNamespace

from mmengine.runner import Runner
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
        built: The type that it builds with the remaining names, as (argument that
            holds it, its default): ``dict(type=ema_type, **kwargs)``.
    """

    hints: dict[str, object] = field(default_factory=dict)
    defaults: dict[str, object] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    open: bool = False
    built: tuple[str, str] | None = None

    def joined_by(self, inner: 'Signature', given: Collection[str] = ()) -> 'Signature':
        """With what the inner one takes beside the names ``given`` to it."""
        names = inner.hints.keys() - set(given) - self.hints.keys()
        return Signature(
            self.hints | {name: inner.hints[name] for name in names},
            self.defaults | {name: inner.defaults[name] for name in names
                             if name in inner.defaults},
            self.required | inner.required - set(given), self.open or inner.open,
            inner.built)


@cache
def signature_of(target: Callable) -> Signature:
    """Arguments of a class or function, those behind ``**kwargs`` included.

    ``**kwargs`` that are only passed to ``super().__init__`` are followed to the base
    classes, and those that are only passed to another class or function
    (``Part(**kwargs)``; also from ``self.args = kwargs``) to that one; names that the
    code takes out of them (``kwargs.pop('name')``) count; if they are used in any other
    way, the signature is open.
    """
    if isinstance(target, partial):
        # mmpretrain's wrapper of torchvision's transforms, which takes text for enums.
        wrapped = next(filter(inspect.isclass, (
            *target.args, *target.keywords.values())), None)
        inner = signature_of(wrapped) if wrapped else Signature(open=True)
        return replace(inner, hints=dict.fromkeys(inner.hints, ANYTHING))
    if is_placeholder(target):
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
        supplied = _add(signature, vars(base)['__init__'], supplied=supplied,
                        cls=base)
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
         supplied: Supplied | None = None, cls: type | None = None
         ) -> Supplied | None:
    """Add the arguments of one function, a method of ``cls``.

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
    for name in uses.taken:
        signature.hints.setdefault(name, ANYTHING)
    calls = [uses.call] if uses.call else _calls_with(cls, uses.kept_as)
    if uses.built is not None:
        signature.built = uses.built
    elif calls:
        _add_callees(signature, function, cls, calls)
    elif uses.passed_on is None:
        signature.open = True
    return uses.passed_on


def _add_callees(signature: Signature, function: Callable, cls: type | None,
                 calls: list[ast.Call]) -> None:
    """Add what others take beside the arguments that they are called with."""
    for call in calls:
        callee = _callee(call.func, inspect.unwrap(function), cls)
        if callee is None:
            signature.open = True
            return
        inner = signature_of(callee)
        positional = [name for name in inner.hints if name != 'self']
        given = {'self', *positional[:len(call.args)],
                 *(k.arg for k in call.keywords)}
        required = signature.required
        vars(signature).update(vars(signature.joined_by(inner, given)))
        if inspect.isfunction(callee):
            # It is called later, with what the class knows by then.
            signature.required = required


def _callee(func: ast.expr, function: Callable, cls: type | None) -> Callable | None:
    """The class or function that ``func`` in the code of ``function`` stands for."""
    known = getattr(function, '__globals__', {})
    match func:
        case ast.Name(name):
            found = known.get(name)
        case ast.Attribute(ast.Name('runner'), name):
            found = getattr(Runner, name, None)
        case ast.Attribute(ast.Name('self'), name):
            found = getattr(cls, name, None)
        case ast.Attribute(ast.Name(owner), name):
            found = getattr(known.get(owner), name, None)
        case _:
            found = None
    return found if inspect.isclass(found) or inspect.isfunction(found) else None


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


@dataclass
class Uses:
    """What an ``__init__`` does with its ``**keywords``.

    Attributes:
        taken: Names that it takes out of them.
        passed_on: What else it calls the base class with; None if they are not passed
            on to it.
        call: The call of another class that they are passed to instead.
        kept_as: The attribute that they are kept in.
        built: See :class:`Signature`.
    """

    taken: set[str] = field(default_factory=set)
    passed_on: Supplied | None = None
    call: ast.Call | None = None
    kept_as: str = ''
    built: tuple[str, str] | None = None


def _uses_of(init: Callable, keywords: str) -> Uses | None:
    """How an ``__init__`` uses its ``**keywords``; None if it cannot be followed."""
    tree = _tree(init)
    if tree is None:
        return None
    uses, known = Uses(), set()
    for node in ast.walk(tree):
        use = _note_use(node, keywords, uses, tree)
        if use is not None:
            known |= {id(n) for n in ast.walk(use) if _is_name(n, keywords)}
    others = [n for n in ast.walk(tree) if _is_name(n, keywords) and id(n) not in known]
    ways = [uses.passed_on, uses.call, uses.kept_as or None, uses.built]
    return None if others or sum(way is not None for way in ways) > 1 else uses


def _note_use(node: ast.AST, keywords: str, uses: Uses, tree: ast.AST
              ) -> ast.AST | None:
    """Add to ``uses`` what ``node`` does with the keywords.

    Returns:
        The part of the node that this accounts for.
    """
    name = _taken_out(node, keywords)
    if name is not None:
        uses.taken.add(name)
        return node
    match node:
        case ast.Assign([ast.Attribute(ast.Name('self'), kept)], ast.Name(source)) \
                if source == keywords:
            uses.kept_as = kept
            return node
        case ast.Assign([ast.Name(target)], ast.Dict([*keys, None], [*_, added])) \
                if target == keywords and _is_name(added, keywords):
            # kwargs = {'extensions': ..., **kwargs}
            uses.taken |= {key.value for key in keys if isinstance(key, ast.Constant)}
            return node
        case ast.Call(func, args, handed):
            handed_on = next((k for k in handed if k.arg is None
                              and _is_name(k.value, keywords)), None)
            if handed_on is None:
                return None
            if _is_base_init(func):
                uses.passed_on = _supplied(node, func.value)
            elif _is_name(func, 'dict') and not args and uses.built is None:
                uses.built = _built_type(handed, tree)
                return handed_on if uses.built else None
            elif uses.call is None:
                uses.call = node
            else:
                return None
            return handed_on
    return None


def _built_type(handed: list[ast.keyword], tree: ast.AST) -> tuple[str, str] | None:
    """(argument, default) of ``dict(type=argument, **kwargs)``."""
    kinds = [k.value for k in handed if k.arg == 'type']
    if len(handed) != 2 or len(kinds) != 1:
        return None
    if isinstance(kinds[0], ast.Constant):
        return '', kinds[0].value
    arguments = next(n for n in ast.walk(tree) if isinstance(n, ast.arguments))
    positional = arguments.posonlyargs + arguments.args
    defaults = dict(zip([a.arg for a in positional][::-1], arguments.defaults[::-1],
                        strict=False))
    defaults |= {a.arg: d for a, d in zip(
        arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
    name = getattr(kinds[0], 'id', None)
    if name not in {a.arg for a in positional + arguments.kwonlyargs}:
        return None
    return name, str(getattr(defaults.get(name), 'value', ''))


def _calls_with(cls: type | None, attribute: str) -> list[ast.Call]:
    """Calls with ``**self.attribute`` in the code of a class.

    Empty if the attribute is used in any other way.
    """
    tree = _tree(cls) if cls is not None and attribute else None
    if tree is None:
        return []

    def reads(node: ast.AST) -> bool:
        return (isinstance(node, ast.Attribute) and node.attr == attribute
                and _is_name(node.value, 'self') and isinstance(node.ctx, ast.Load))

    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)
             and any(k.arg is None and reads(k.value) for k in node.keywords)]
    return calls if len(calls) == sum(map(reads, ast.walk(tree))) else []


def _tree(code: Callable) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(code))))
    except (OSError, TypeError, SyntaxError):
        return None


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


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
    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and _is_name(node.func.value, keywords) and node.args
            and node.func.attr in ('pop', 'get', 'setdefault')):
        constant = node.args[0]
    elif isinstance(node, ast.Subscript) and _is_name(node.value, keywords):
        constant = node.slice
    elif isinstance(node, ast.Compare) and len(node.comparators) == 1 \
            and _is_name(node.comparators[0], keywords):
        constant = node.left
    else:
        return None
    return constant.value if isinstance(constant, ast.Constant) and isinstance(
        constant.value, str) else None
