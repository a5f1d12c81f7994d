"""Expand patterns to the paths of shards."""
import os
import re
from collections import Counter
from collections.abc import Sequence
from glob import escape, glob, has_magic


def expand_shards(shards: str | Sequence[str], folder: str = '') -> list[str]:
    """Paths of the shards that a pattern or a list of patterns names.

    Args:
        shards: Path, brace pattern (``train-{000000..000099}.tar``), glob
            (``train-*.tar``, sorted), or a list of those.
        folder: What relative paths start from.

    Raises:
        ValueError: If something is not a local path (a URL, a ``pipe:``), or a shard is
            named twice.
        FileNotFoundError: If a shard is missing, or a glob matches nothing.
    """
    patterns = [shards] if isinstance(shards, str) else list(shards)
    paths = [path for pattern in patterns for path in _expand(str(pattern), folder)]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing or not paths:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(paths)} shards in shards={shards!r} are '
            f'missing; the first: {missing[0] if missing else "none was named"} '
            f'(looked from {os.getcwd()}).')
    path, count = Counter(paths).most_common(1)[0]
    if count > 1:
        raise ValueError(f'shards={shards!r} names {path} {count} times.')
    return paths


def _expand(pattern: str, folder: str) -> list[str]:
    _reject_urls(pattern)
    path = os.path.join(folder, os.path.expanduser(pattern))
    if os.path.isfile(path):
        return [path]
    paths = _import_braceexpand()(path) if '{' in path else [path]
    return [found for path in paths for found in _glob(path)]


def _reject_urls(pattern: str) -> None:
    scheme = re.match(r'([A-Za-z][\w+.-]+):', pattern)
    if scheme and scheme[1] == 'pipe':
        raise ValueError(
            f'shards={pattern!r} asks to run a command; data are never executed here. '
            'Run it yourself, into files, and name those.')
    if scheme:
        raise ValueError(
            f'shards takes local files, got {pattern!r}. Copy or mount them first; '
            "several are named by a list, a glob or {000..099}, not joined by '::'.")


def _glob(path: str) -> list[str]:
    if not has_magic(path) or os.path.isfile(path):
        return [path]
    folder, name = os.path.split(path)
    if os.path.isdir(folder):  # which may be called 'run[1]'
        path = os.path.join(escape(folder), name)
    found = sorted(glob(path, recursive=True))
    if not found:
        raise FileNotFoundError(
            f'No shard fits {path!r} (looked from {os.getcwd()}).')
    return found


def _import_braceexpand():
    try:
        from braceexpand import braceexpand
    except ImportError:
        raise ImportError(
            'A pattern like {000..099} needs the library webdataset: pip install '
            'webdataset. A glob like train-*.tar does not.'
        ) from None
    return braceexpand
