"""Find imports of new-style configs that fail."""
from collections.abc import Iterator
from importlib import import_module

from mmengine.config import Config

from ...errors import did_you_mean
from ...io.config_types import LAZY, full_name
from .issue import ConfigIssue
from .top_level import runner_keys


def broken_imports(cfg: Config) -> Iterator[ConfigIssue]:
    """An issue for each place that a Runner reads and whose import fails.

    mmengine imports what a config names at the moment when it is used.
    """
    known = runner_keys()
    for key, value in dict.items(cfg._cfg_dict):
        for path, lazy in _imports(value, key) if key in known else ():
            try:
                lazy.build()
            except Exception as error:  # Importing runs code of other libraries.
                yield ConfigIssue(path, f'{full_name(lazy)!r} cannot be imported'
                                  f'{_hint(lazy)} {error}')


def _imports(value: object, path: str) -> Iterator[tuple[str, object]]:
    """(path, what mmengine put there) of every import below a value."""
    if isinstance(value, LAZY):
        yield path, value
    elif isinstance(value, dict):
        for key, item in dict.items(value):
            yield from _imports(item, f'{path}.{key}')
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _imports(item, f'{path}[{i}]')


def _hint(lazy: object) -> str:
    module, _, name = full_name(lazy).rpartition('.')
    try:
        return did_you_mean(name, dir(import_module(module)))
    except Exception:  # The module itself is the problem, which the error tells.
        return ':'
