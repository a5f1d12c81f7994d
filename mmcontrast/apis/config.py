"""Read a config as the tools do: apply overrides, check it, choose a work dir."""
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from ..engine.runner.reliable_runner import drop_function_scopes
from ..errors import UserValueError, closest, suggest
from .lint import check_options, describe, lint_config, misspelled_keys
from .lint.top_level import FORMER_HOOK_KEYS


class UsageError(UserValueError):
    """A command line or a config that cannot work; the text says how to correct it."""


def load_config(path: str, options: dict | None = None,
                work_dir: str | None = None) -> Config:
    """Read a config file, apply overrides and choose its work dir.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.
        options: Dotted keys and values, as from ``--cfg-options``.
        work_dir: Overrides that of the config; the default is
            ``work_dirs/<name of the config>``.

    Raises:
        FileNotFoundError: If there is no such file; suggests similar names.
        UsageError: If a key looks like a typo of a known one.
    """
    config = read_config(path)
    _raise_if_any(misspelled_keys(config), config)
    _rename_hooks(config)
    if options:
        options = {_current_key(key): value for key, value in options.items()}
        typo = check_options(config, options)
        if typo:
            raise UsageError(typo)
        config.merge_from_dict(options)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if isinstance(config.get(key), dict):
            drop_function_scopes(config[key])
    default = f'work_dirs/{Path(path.rpartition("::")[2]).stem}'
    config.work_dir = work_dir or config.get('work_dir') or default
    return config


def read_config(path: str | Path) -> Config:
    """Read a config as it is written.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.

    Raises:
        FileNotFoundError: If there is no such file or package; suggests similar names.
    """
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


def _current_key(dotted: str) -> str:
    """A key of ``--cfg-options`` with the current name of its hook."""
    head, _, rest = dotted.partition('.')
    name, dot, rest = rest.partition('.')
    if head != 'default_hooks' or name not in FORMER_HOOK_KEYS:
        return dotted
    return f'{head}.{FORMER_HOOK_KEYS[name]}{dot}{rest}'


def check_config(config: Config) -> None:
    """Stop at errors of a config before anything is built; see ``apis/lint``.

    Raises:
        UsageError: Lists every error with its path and the closest name. A key
            ``lint=False`` or ``lint=dict(skip=[paths])`` in the config skips the check.
    """
    _raise_if_any(lint_config(config), config)


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
