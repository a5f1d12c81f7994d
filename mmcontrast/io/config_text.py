"""Parse the config text in checkpoints and manifests without executing it."""
import ast
import math

_NAMES = dict(inf=math.inf, nan=math.nan)
_CALLS = dict(dict=dict, float=float, list=list, tuple=tuple, set=set,
              frozenset=frozenset)


def parse_config_text(text: str, class_names: bool = False) -> dict:
    """The settings in a config text that mmengine's ``Config.dump`` wrote.

    mmengine executes such text as Python. Here only data are accepted: literals,
    ``dict(...)``, lists, tuples, sets, signs, ``float('inf')``, ``inf`` and ``nan``.

    Args:
        text: Lines ``key = value``, or one dict literal.
        class_names: Also accept full names without quotes, ``type=torch.nn.ReLU``, as
            mmengine writes classes; they become text. It cannot execute them itself.

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
        settings = _value(statements[0].value, class_names)
        if isinstance(settings, dict):
            return settings
    return dict(_assignment(statement, class_names) for statement in statements)


class _NotData(ValueError):
    """A part of the text that is not data."""

    def __init__(self, node: ast.AST, reason: object) -> None:
        text = ast.unparse(node).splitlines()[0][:60]
        super().__init__(f'Line {node.lineno} of the config text is not data: {text!r} '
                         f'({reason}). Nothing was executed.')


class _Evaluator(ast.NodeTransformer):
    """Replaces names and calls that stand for data by constants."""

    def __init__(self, class_names: bool) -> None:
        self.class_names = class_names

    def visit_Attribute(self, node: ast.Attribute) -> ast.Constant:
        name = ast.unparse(node)
        if not self.class_names or not all(
                part.isidentifier() for part in name.split('.')):
            raise _NotData(node, 'a name is no data')
        return ast.copy_location(ast.Constant(name), node)

    def visit_Name(self, node: ast.Name) -> ast.Constant:
        if node.id not in _NAMES:
            raise _NotData(node, 'a name is no data')
        return ast.copy_location(ast.Constant(_NAMES[node.id]), node)

    def visit_Call(self, node: ast.Call) -> ast.Constant:
        make = _CALLS.get(getattr(node.func, 'id', ''))
        if make is None or not all(keyword.arg for keyword in node.keywords):
            raise _NotData(node, 'a call is no data')
        names = self.class_names
        arguments = [_value(argument, names) for argument in node.args]
        settings = {keyword.arg: _value(keyword.value, names)
                    for keyword in node.keywords}
        try:
            return ast.copy_location(ast.Constant(make(*arguments, **settings)), node)
        except (TypeError, ValueError) as error:
            raise _NotData(node, error) from error


def _assignment(statement: ast.stmt, class_names: bool) -> tuple:
    match statement:
        case ast.Assign(targets=[ast.Name(name)], value=value):
            return name, _value(value, class_names)
    raise _NotData(statement, 'expected key = value')


def _value(node: ast.expr, class_names: bool):
    try:
        return ast.literal_eval(_Evaluator(class_names).visit(node))
    except _NotData:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        # As {[]: 1} is, or a sum.
        raise _NotData(node, 'expected a literal, dict(...), list, tuple or '
                             'set') from error
