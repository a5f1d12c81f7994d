"""Reading a config the way our tools do: checked, overridden, given a work dir."""
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from ..engine.runner.reliable_runner import drop_function_scopes
from ..errors import UserValueError, closest, suggest
from .lint import check_options, describe, lint_config, misspelled_keys

#: Earlier names of entries of ``default_hooks``.
FORMER_HOOK_KEYS = {'finite_guard': 'nonfinite_guard', 'slot_pictures': 'slot_images'}


class UsageError(UserValueError):
    """A command line or a config that cannot work; the text says how to correct it."""


def load_config(path: str, options: dict | None = None,
                work_dir: str | None = None) -> Config:
    """Read a config file, apply overrides and settle its work dir.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.
        options: Dotted keys and values, as from ``--cfg-options``.
        work_dir: Goes before the config's own, which goes before
            ``work_dirs/<name of the config>``.

    Raises:
        FileNotFoundError: If there is no such file; names the closest neighbors.
        UsageError: If a key is one typo away from a known one.
    """
    if '::' in path:
        config = get_config(path)
    else:
        config = Config.fromfile(existing_file(path, 'config'))
    _refuse(misspelled_keys(config), config)
    if options:
        typo = check_options(config, options)
        if typo:
            raise UsageError(typo)
        config.merge_from_dict(options)
    _rename_hooks(config)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(config.get(key), dict):
            drop_function_scopes(config[key])
    default = f'work_dirs/{Path(path.rpartition("::")[2]).stem}'
    config.work_dir = work_dir or config.get('work_dir') or default
    return config


def _rename_hooks(config: Config) -> None:
    """Give entries of ``default_hooks`` their current names."""
    hooks = config.get('default_hooks') or {}
    for former, current in FORMER_HOOK_KEYS.items():
        if former in hooks:
            found = hooks.pop(former)
            base = hooks.get(current)
            both = isinstance(found, dict) and isinstance(base, dict)
            hooks[current] = {**base, **found} if both else found


def check_config(config: Config) -> None:
    """Refuse a config with mistakes, before anything is built; see ``apis/lint``.

    Raises:
        UsageError: Names every mistake with its place and the closest name. A key
            ``lint=False`` or ``lint=dict(skip=[paths])`` in the config lets them pass.
    """
    _refuse(lint_config(config), config)


def _refuse(issues: list, config: Config) -> None:
    if issues:
        raise UsageError(describe(issues, config.filename))


def existing_file(path: str, role: str) -> str:
    """``path`` itself, if it is a file.

    Raises:
        FileNotFoundError: Otherwise; says what was looked for (``role``), and which
            files beside it have a similar name.
    """
    file = Path(path)
    if file.is_file():
        return path
    if file.is_dir():
        raise FileNotFoundError(f'{role} {path} is a folder; name a file in it.')
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f'{role} {path} does not exist: there is no folder {file.parent} '
            f'(looked from {Path.cwd()}).')
    neighbors = [p.name for p in file.parent.iterdir() if p.is_file()]
    hint = suggest(str(file.parent / near) for near in closest(file.name, neighbors, 3))
    raise FileNotFoundError(f'{role} {path} does not exist' + (
        hint or f': {file.parent} holds no file with a similar name.'))
