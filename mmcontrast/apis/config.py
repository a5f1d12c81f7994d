"""Reading a config the way our tools do: checked, overridden, given a work dir."""
import difflib
import inspect
from pathlib import Path

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner

# Where an unknown top-level key comes this close to one that the Runner reads, it is
# a typo. None of the configs of mmdet, mmseg and mmpretrain is caught by it.
TYPO = 0.92


class UsageError(ValueError):
    """A command line and a config that do not fit; one sentence puts it right."""


def load_config(path: str, options: dict | None = None,
                work_dir: str | None = None) -> Config:
    """Read a config file, apply overrides and settle its work dir.

    Args:
        path: File, or ``mmcontrast::pixpro/...`` for one of an installed package.
        options: Dotted keys and values, as from ``--cfg-options``.
        work_dir: Goes before the config's own, which goes before
            ``work_dirs/<name of the config>``.

    Raises:
        FileNotFoundError: If there is no such file; names the closest neighbours.
        UsageError: If a key is one typo away from a known one.
    """
    if '::' in path:
        config = get_config(path)
    else:
        config = Config.fromfile(existing_file(path, 'config'))
    _check_top_level(config)
    if options:
        _check_options(config, options)
        config.merge_from_dict(options)
    default = f'work_dirs/{Path(path.rpartition("::")[2]).stem}'
    config.work_dir = work_dir or config.get('work_dir') or default
    return config


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
    neighbours = [p.name for p in file.parent.iterdir() if p.is_file()]
    close = difflib.get_close_matches(file.name, neighbours, n=3)
    hint = (f'did you mean {" or ".join(str(file.parent / name) for name in close)}?'
            if close else f'{file.parent} holds no file with a similar name.')
    raise FileNotFoundError(f'{role} {path} does not exist: {hint}')


def _check_top_level(config: Config) -> None:
    """A misspelt top-level key would be carried along and never read."""
    known = set(inspect.signature(Runner.__init__).parameters)
    known |= {'auto_scale_lr', 'custom_imports', 'runner_type'}
    for key, value in config.items():
        if key not in known and isinstance(value, dict | list):
            close = difflib.get_close_matches(key, known, n=1, cutoff=TYPO)
            if close:
                raise UsageError(
                    f'{config.filename}: nothing reads the key {key!r}; did you mean '
                    f'{close[0]!r}? A variable of your own needs a name further away.')


def _check_options(config: Config, options: dict) -> None:
    """``--cfg-options`` may add keys, but a near miss of an existing one is a typo."""
    for dotted in options:
        level = config
        for key in dotted.split('.'):
            if not isinstance(level, dict | Config):
                break
            if key not in level:
                close = [name for name in difflib.get_close_matches(
                             key, list(level), n=3, cutoff=0.8)
                         if _letters(name) != _letters(key)]
                if close:
                    raise UsageError(
                        f'--cfg-options {dotted}: the config has no {key!r} there; did '
                        f'you mean {close[0]!r}? It holds {", ".join(sorted(level))}.')
                break
            level = level[key]


def _letters(name: str) -> str:
    """Without digits: stage1 beside stage2 is a new key, not a typo."""
    return ''.join(c for c in name if not c.isdigit())
