"""Read a config as the tools do: apply overrides, check it, choose a work dir."""
import re
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config

from ..engine.runner.reliable_runner import drop_function_scopes
from ..errors import UserValueError, closest, suggest
from .lint import ConfigIssue, describe, lint_config, misspelled_keys
from .lint.issue import ADVICE
from .lint.top_level import FORMER_HOOK_KEYS, missing_for
from .options import first_new, merge_options
from .run_length import follow_run_length, run_length


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


def _apply(options: dict, config: Config) -> None:
    """Set options in a config, and check what they make of it.

    Raises:
        UsageError: If a value or a key is wrong.
    """
    typed = {_current_key(key): text
             for key, text in getattr(options, 'typed', {}).items()}
    options = {_current_key(key): value for key, value in options.items()}
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
