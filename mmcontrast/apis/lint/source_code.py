"""Find which names the source code of a class reads, adds or mentions."""
import ast
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

BUILDERS = ('update', 'setdefault', 'dict', 'ConfigDict', 'build', 'deepcopy')
IGNORED = ('torch', 'builtins')


@dataclass
class Mentions:
    """Names in the code of a module.

    Attributes:
        added: Keys that it sets in some dict (``cfg.update(in_channels=...)``).
        read: Keys that it reads from some dict (``cfg.pop('depth')``, ``cfg.stages``).
        texts: All string constants and all names of arguments.
    """

    added: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


def adds(classes: Iterable[Callable], name: str) -> bool:
    """Whether one of ``classes`` may add the argument ``name`` to what it builds."""
    return any(name in _mentions(module).added for module in _modules(classes))


def reads(classes: Iterable[Callable], name: str) -> bool:
    """Whether one of ``classes`` may read ``name`` from what it is given."""
    return any(name in _mentions(module).read for module in _modules(classes))


def names_read(classes: Iterable[Callable]) -> set[str]:
    """All names that ``classes`` read from dicts."""
    return set().union(*(_mentions(module).read for module in _modules(classes)))


def mentions(classes: Iterable[Callable], name: str) -> bool:
    """Whether ``name`` is in the code of one of ``classes``, as text or argument."""
    return any(name in _mentions(module).texts for module in _modules(classes))


def _modules(classes: Iterable[Callable]) -> Iterable[str]:
    for cls in classes:
        for base in (cls.__mro__ if inspect.isclass(cls) else (cls,)):
            module = getattr(base, '__module__', None) or 'builtins'
            if module.partition('.')[0] not in IGNORED:
                yield module
            parts = module.split('.')
            if parts[:2] == ['mmcontrast', 'methods']:
                # An argument may be meant for a part that the model builds.
                package = '.'.join(parts[:3]) + '.'
                yield from [name for name in sys.modules if name.startswith(package)]


@cache
def _mentions(module: str) -> Mentions:
    found = Mentions()
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError, KeyError):
        return found
    for node in ast.walk(tree):
        _collect(node, found)
    return found


def _collect(node: ast.AST, found: Mentions) -> None:
    if isinstance(node, ast.keyword) and node.arg:
        found.texts.add(node.arg)
    elif _text(node):
        found.texts.add(_text(node))
    if isinstance(node, ast.Call):
        name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
        if name in BUILDERS or name.startswith('build'):
            found.added.update(k.arg for k in node.keywords if k.arg)
        if node.args and _text(node.args[0]):
            if name == 'setdefault':
                found.added.add(_text(node.args[0]))
            if name in ('pop', 'get', 'setdefault'):
                found.read.add(_text(node.args[0]))
        if name in ('getattr', 'hasattr') and len(node.args) > 1 \
                and _text(node.args[1]):
            found.read.add(_text(node.args[1]))
    elif isinstance(node, ast.Subscript) and _text(node.slice):
        stored = isinstance(node.ctx, ast.Store)
        (found.added if stored else found.read).add(_text(node.slice))
    elif isinstance(node, ast.Dict):
        found.added.update(filter(None, map(_text, node.keys)))
    elif isinstance(node, ast.Compare):
        found.read.update(filter(None, [_text(node.left)]))
    elif isinstance(node, ast.Attribute) and not _is_self(node.value):
        stored = isinstance(node.ctx, ast.Store)
        (found.added if stored else found.read).add(node.attr)


def _text(node: ast.AST | None) -> str | None:
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if constant else None


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == 'self'
