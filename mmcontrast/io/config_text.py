"""Parse the config text in checkpoints and manifests without executing it."""
import ast
import math
from collections.abc import Callable

_NAMES = dict(inf=math.inf, nan=math.nan)


def parse_config_text(text: str) -> dict:
    """The settings in a config text that mmengine's ``Config.dump`` wrote.

    mmengine executes such text as Python. Here only data are accepted: literals,
    ``dict(...)``, lists, tuples, sets, signs, ``float('inf')``, ``inf`` and ``nan``.

    Args:
        text: Lines ``key = value``, or one dict literal.

    Returns:
        The settings; plain dicts, lists and values.

    Raises:
        ValueError: If there is anything else in it; names the line.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f'line {error.lineno}: ' if getattr(error, 'lineno', 0) else ''
        reason = getattr(error, 'msg', None) or error
        raise ValueError(f'This is no config text. {line}{reason}.') from error
    if len(statements) == 1 and isinstance(statements[0], ast.Expr):
        # The dump of a config with a key that is no Python name.
        settings = _value(statements[0].value)
        if isinstance(settings, dict):
            return settings
    return dict(map(_assignment, statements))


def _assignment(statement: ast.stmt) -> tuple:
    if (not isinstance(statement, ast.Assign) or len(statement.targets) != 1
            or not isinstance(statement.targets[0], ast.Name)):
        raise _not_data(statement, 'expected key = value')
    return statement.targets[0].id, _value(statement.value)


def _value(node: ast.expr):
    try:
        if type(node) in _KINDS:
            return _KINDS[type(node)](node)
    except (TypeError, RecursionError) as error:  # As {[]: 1} is, or 10**6 brackets.
        raise _not_data(node, str(error)) from error
    raise _not_data(node, 'expected a literal, dict(...), list, tuple or set')


def _sequence(make: Callable) -> Callable:
    return lambda node: make(map(_value, node.elts))


def _dict(node: ast.Dict) -> dict:
    if None in node.keys:
        raise _not_data(node, '** is not supported')
    return dict(zip(map(_value, node.keys), map(_value, node.values), strict=True))


def _name(node: ast.Name) -> float:
    if node.id not in _NAMES:
        raise _not_data(node, 'a name is no data')
    return _NAMES[node.id]


def _signed(node: ast.UnaryOp):
    value = _value(node.operand)
    if type(value) in (int, float, complex):
        if isinstance(node.op, ast.USub):
            return -value
        if isinstance(node.op, ast.UAdd):
            return value
    raise _not_data(node, 'expected a number after the sign')


def _call(node: ast.Call):
    function = node.func.id if isinstance(node.func, ast.Name) else None
    if function == 'dict':
        return _dict_call(node)
    if not node.keywords and len(node.args) <= 1:
        if function == 'float' and node.args:
            return _float(node)
        if function in ('list', 'tuple', 'set', 'frozenset'):
            make = dict(list=list, tuple=tuple, set=set, frozenset=frozenset)[function]
            return make(*map(_value, node.args))
    raise _not_data(node, 'a call is no data')


def _dict_call(node: ast.Call) -> dict:
    if len(node.args) > 1 or any(keyword.arg is None for keyword in node.keywords):
        raise _not_data(node, 'expected dict(key=value, ...)')
    start = _value(node.args[0]) if node.args else {}
    if not isinstance(start, dict):
        raise _not_data(node, 'expected dict(key=value, ...)')
    return start | {keyword.arg: _value(keyword.value) for keyword in node.keywords}


def _float(node: ast.Call) -> float:
    value = _value(node.args[0])
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise _not_data(node, f'{error}') from error


def _not_data(node: ast.AST, reason: str) -> ValueError:
    text = ast.unparse(node).splitlines()[0][:60]
    return ValueError(
        f'Line {node.lineno} of the config text is not data: {text!r} ({reason}). '
        'Nothing of it was run.')


_KINDS = {
    ast.Constant: lambda node: node.value, ast.Dict: _dict, ast.Name: _name,
    ast.List: _sequence(list), ast.Tuple: _sequence(tuple), ast.Set: _sequence(set),
    ast.UnaryOp: _signed, ast.Call: _call}
