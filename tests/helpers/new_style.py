"""Rewrite configs of the text style in mmengine's new style, with classes for names."""
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from mmcontrast.apis.lint.linter import Linter
from mmcontrast.io.config_types import full_name


class _Recorder(Linter):
    """Notes which class or function each ``type`` of a config means."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.found: dict[str, Callable] = {}

    def _target(self, name, path, *args):
        target, issue = super()._target(name, path, *args)
        if callable(target) and '<' not in getattr(target, '__qualname__', '<'):
            self.found.setdefault(path, target)
        return target, issue


class _Writer:
    """Writes settings as Python, with an import for every type that it can resolve."""

    def __init__(self, classes: dict[str, Callable]) -> None:
        self.classes = classes
        self.names: dict[Callable, str] = {}

    def imports(self) -> str:
        lines = ''
        for kind, name in self.names.items():
            module, _, own_name = full_name(kind).rpartition('.')
            lines += f'from {module} import {own_name} as {name}\n'
        return lines

    def text(self, value: object, path: str) -> str:
        if isinstance(value, dict):
            items = [f'{key!r}: {self._setting(key, item, path)}'
                     for key, item in value.items() if key != '_scope_']
            return f'{{{", ".join(items)}}}'
        if isinstance(value, list):
            return f'[{", ".join(self._items(value, path))}]'
        if isinstance(value, tuple):
            return f'({"".join(item + ", " for item in self._items(value, path))})'
        return f'float({str(value)!r})' if isinstance(value, float) else repr(value)

    def _items(self, value: list | tuple, path: str) -> list[str]:
        return [self.text(item, f'{path}[{i}]') for i, item in enumerate(value)]

    def _setting(self, key: object, value: object, path: str) -> str:
        kind = self.classes.get(path if key == 'type' else f'{path}.{key}')
        kind = kind if isinstance(value, str) else None
        if kind is None:
            return self.text(value, f'{path}.{key}')
        return self.names.setdefault(kind, f'{kind.__name__}_{len(self.names)}')


def write_new_style(cfg: Config, folder: Path, name: str = 'new_style.py') -> Path:
    """Write a config as two files in the new style: the model, and what inherits it.

    ``default_scope`` is None there, as in the configs of mmdet.

    Returns:
        The second file, to be given to a tool.
    """
    recorder = _Recorder(cfg.get('default_scope') or 'mmengine')
    list(recorder.check(cfg))
    folder.mkdir(parents=True, exist_ok=True)
    model, rest = _Writer(recorder.found), _Writer(recorder.found)
    lines = {'model': '', 'rest': ''}
    for key, value in cfg.items():
        part, writer = ('model', model) if key == 'model' else ('rest', rest)
        if key != 'default_scope':
            lines[part] += f'{key} = {writer.text(value, key)}\n'
    (folder / 'base_model.py').write_text(model.imports() + lines['model'])
    file = folder / name
    file.write_text(
        'from mmengine.config import read_base\n\n'
        'with read_base():\n    from .base_model import *\n\n'
        + rest.imports() + '\ndefault_scope = None\n' + lines['rest'])
    return file
