"""Typing errors in ``--cfg-options``."""
from mmengine.config import Config

from ...errors import closest, suggest


def check_options(config: Config, options: dict) -> str | None:
    """``--cfg-options`` may add keys, but a near miss of an existing one is a typo.

    Args:
        config: The config before they are merged into it.
        options: Dotted keys and values.

    Returns:
        A sentence on the first typo, None if there is none.
    """
    for dotted in options:
        level = config
        for key in dotted.split('.'):
            if not isinstance(level, dict | Config):
                break
            if key not in level:
                close = [name for name in closest(key, level, num=3, cutoff=0.8)
                         if _letters(name) != _letters(key)]
                if close:
                    return (
                        f'--cfg-options {dotted}: the config has no {key!r} there'
                        f'{suggest(close[:1])} It holds {", ".join(sorted(level))}.')
                break
            level = level[key]
    return None


def _letters(name: str) -> str:
    """Without digits: stage1 beside stage2 is a new key, not a typo."""
    return ''.join(c for c in name if not c.isdigit())
