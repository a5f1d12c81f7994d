"""The config that a checkpoint carries as text: parsed, never run."""
import ast
from typing import Any

_NUMBERS = {'inf': float('inf'), 'nan': float('nan')}


def parse_config(text: str, name: str) -> dict[str, Any]:
    """Values of the assignments in the text of a config.

    Only what ``Config.pretty_text`` writes is understood: names that are given numbers,
    texts, lists, tuples, dicts and ``dict(...)`` of such.

    Args:
        name: Of the file the text is from, for the message.

    Raises:
        ValueError: If there is anything else in it, such as a call or an import.
    """
    try:
        statements = ast.parse(text).body
        return {_target(statement): _value(statement.value) for statement in statements}
    except (SyntaxError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f'{name}: the config it carries is more than plain values ({error}), and '
            'nothing in a checkpoint is run; name the config file instead, and this '
            'file with --weights.') from None


def _target(statement: ast.stmt) -> str:
    if (not isinstance(statement, ast.Assign) or len(statement.targets) != 1
            or not isinstance(statement.targets[0], ast.Name)):
        raise ValueError(f'line {statement.lineno} is no NAME = VALUE')
    return statement.targets[0].id


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(k): _value(v)
                for k, v in zip(node.keys, node.values, strict=True)}
    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == 'dict' and not node.args):
        return {item.arg: _value(item.value) for item in node.keywords}
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    # Numbers, texts, None, signs; anything else is refused.
    return ast.literal_eval(node)
