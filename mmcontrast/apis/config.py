"""Read a config as the tools do: apply overrides, check it, choose a work dir."""
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from ..engine.runner.reliable_runner import drop_function_scopes
from ..errors import UserValueError, closest, suggest
from ..io.config_types import is_code
from .lint import ConfigIssue, describe, lint_config, misspelled_keys
from .lint.issue import ADVICE
from .lint.top_level import (
    FORMER_HOOK_KEYS,
    leftover_keys,
    missing_for,
    runner_keys,
    without_effect,
)
from .options import first_new, merge_options
from .run_length import follow_run_length, run_length

COMPUTED = (
    'it computes with something that it imports. In a config with imports (the new '
    'style of mmengine) an import stands for a name: it may be a type or a value, but '
    "it cannot be called or used in arithmetic, except from Python's own library. "
    'Write the result.')


class UsageError(UserValueError):
    """A command line or a config that cannot work; the text says how to correct it."""


def load_config(path: str, options: dict | None = None,
                work_dir: str | None = None) -> Config:
    """Read a config file, apply overrides and choose its work dir.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.
        options: Dotted keys and values, as from ``--cfg-options``. They are checked
            like the config that they make.
        work_dir: Overrides that of the config; the default is
            ``work_dirs/<name of the config>``.

    Raises:
        FileNotFoundError: If there is no such file; suggests similar names.
        UsageError: If a key looks like a typo of a known one, or an option cannot be
            used.
    """
    config = read_config(path)
    _rename_hooks(config)
    if options:
        length = run_length(config)
        _apply(options, config)
        follow_run_length(config, length, options)
    _raise_if_any(lint_config(config, [misspelled_keys]), config)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(config.get(key), dict):
            drop_function_scopes(config[key])
    default = f'work_dirs/{Path(path.rpartition("::")[2]).stem}'
    config.work_dir = work_dir or config.get('work_dir') or default
    return config


def read_config(path: str | Path) -> Config:
    """Read a config as it is written, in the text style or in mmengine's new style.

    What a new-style config imports is imported when it is used.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.

    Raises:
        FileNotFoundError: If there is no such file or package; suggests similar names.
        UsageError: If a new-style config does what mmengine does not allow there.
    """
    with _explained_style(path):
        config = _read(path)
    settings = config._cfg_dict
    for name, value in list(dict.items(settings)):
        # Imports and functions of the file. mmengine writes none of them, and fails at
        # modules and functions.
        if is_code(value) and name not in runner_keys():
            del settings[name]
    if config._imported_names and config.get('custom_imports'):
        # mmengine leaves them to configs of the text style.
        import_modules_from_strings(**config.custom_imports)
    object.__setattr__(config, '_imported_names', set())
    return config


@contextmanager
def _explained_style(path: str | Path) -> Iterator[None]:
    """Turn errors of mmengine's reader into sentences that name file and line."""
    try:
        yield
    except (AssertionError, NameError, RuntimeError, SyntaxError, TypeError) as error:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        frames = traceback.extract_tb(error.__traceback__)[names.index('read_config'):]
        lines = [frame for frame in frames if frame.name == '<module>']
        where = f'{lines[-1].filename}, line {lines[-1].lineno}' if lines else path
        # An import that is called raises RuntimeError().
        computed = not str(error) or 'Lazy' in str(error)
        raise UsageError(f'{where}: {COMPUTED if computed else error}') from error


def _read(path: str | Path) -> Config:
    package, scoped, name = str(path).partition('::')
    if not scoped:
        return Config.fromfile(existing_file(str(path), 'config'))
    if find_spec(package) is None:
        # mmengine would install a package of that name from the network.
        raise FileNotFoundError(
            f'config {path} does not exist: there is no package {package} here.')
    try:
        return get_config(str(path))
    except (FileNotFoundError, ValueError) as error:  # the latter without a folder
        folder = Path(find_spec(package).origin).parent / '.mim' / 'configs'
        if (folder / name).is_file():
            raise
        configs = [file.relative_to(folder).as_posix()
                   for file in folder.rglob('*.py')]
        hint = suggest(f'{package}::{near}' for near in closest(name, configs, 3))
        raise FileNotFoundError(f'config {path} does not exist' + (
            hint or f': no config in {folder} has a similar name.')) from error


def _rename_hooks(config: Config) -> None:
    """Replace former names in ``default_hooks`` by the current ones."""
    hooks = config.get('default_hooks') or {}
    for former, current in FORMER_HOOK_KEYS.items():
        if former in hooks:
            changed, base = hooks.pop(former), hooks.get(current)
            both = isinstance(changed, dict) and isinstance(base, dict)
            hooks[current] = {**base, **changed} if both else changed


def _apply(options: dict, config: Config) -> None:
    """Set options in a config, and check what they make of it.

    Raises:
        UsageError: If a value or a key is wrong.
    """
    typed = {_current_key(key): text
             for key, text in getattr(options, 'typed', {}).items()}
    options = {_current_key(key): value for key, value in options.items()}
    for note in filter(None, (without_effect(config, key) for key in options)):
        print_log(note, 'current', logging.WARNING)
    places = {key: first_new(config, key) for key in options}
    merge_options(config, options)
    wrong = _issues_below(places, config)
    # A folder may be called 2023, or a,b.
    as_text = {key: typed[key] for key in wrong if key in typed}
    if as_text:
        merge_options(config, as_text)
        still_wrong = _issues_below(places, config)
        merge_options(config, {key: options[key] for key in as_text
                               if key in still_wrong})
        wrong = _issues_below(places, config)
    if wrong:
        raise UsageError('\n'.join(
            [f'--cfg-options {issue}' for issues in wrong.values() for issue in issues]
            + [ADVICE]))


def _issues_below(places: dict[str, str], config: Config
                  ) -> dict[str, list[ConfigIssue]]:
    """Errors of a config by the option that they belong to.

    Args:
        places: What each option changes: a setting, or a new dict around it.
        config: The config with the options.
    """
    found = {}
    for issue in lint_config(config):
        path = re.sub(r'\[(\d+)\]', r'.\1', issue.path) + '.'
        for key in [*(key for key in places if path.startswith(f'{key}.')),
                    *(key for key, place in places.items()
                      if path.startswith(f'{place}.'))][:1]:
            found.setdefault(key, []).append(issue)
    return found


def _current_key(dotted: str) -> str:
    """A key of ``--cfg-options`` with the current name of its hook."""
    head, _, rest = dotted.partition('.')
    name, dot, rest = rest.partition('.')
    if head != 'default_hooks' or name not in FORMER_HOOK_KEYS:
        return dotted
    return f'{head}.{FORMER_HOOK_KEYS[name]}{dot}{rest}'


def check_config(config: Config, stage: str | None = None) -> None:
    """Stop at errors of a config before anything is built; see ``apis/lint``.

    Args:
        config: The config.
        stage: What it has to hold: 'train' or 'test'.

    Raises:
        UsageError: Lists every error with its path and the closest name. A key
            ``lint=False`` or ``lint=dict(skip=[paths])`` in the config skips the check.
    """
    _raise_if_any(lint_config(config), config)
    for issue in lint_config(config, [leftover_keys]):
        print_log(str(issue), 'current', logging.WARNING)
    nothing = stage and missing_for(config, stage)
    if nothing:
        raise UsageError(nothing)


def _raise_if_any(issues: list, config: Config) -> None:
    if issues:
        raise UsageError(describe(issues, config.filename))


def existing_file(path: str, role: str) -> str:
    """Return ``path`` if it is a file.

    Raises:
        FileNotFoundError: Otherwise; names what was expected (``role``) and files in
            the same folder with a similar name.
    """
    file = Path(path)
    if file.is_file():
        return path
    if file.is_dir():
        raise FileNotFoundError(f'{role} {path} is a folder; name a file in it.')
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f'{role} {path} does not exist: there is no folder {file.parent} '
            f'(relative to {Path.cwd()}).')
    neighbors = [p.name for p in file.parent.iterdir() if p.is_file()]
    hint = suggest(str(file.parent / near) for near in closest(file.name, neighbors, 3))
    raise FileNotFoundError(f'{role} {path} does not exist' + (
        hint or f': {file.parent} holds no file with a similar name.'))
