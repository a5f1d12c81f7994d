"""Describe what a checkpoint holds."""
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from torch import Tensor

from ...io.checkpoint import count_prefixes, find_state_dict, read_checkpoint
from ...io.manifest import Manifest, usable_manifest


def describe_checkpoint(path: str | Path, keys: str | None = None) -> str:
    """Prefixes, counts, sizes and meta text of a checkpoint file.

    Args:
        path: The file; read as data, nothing in it is executed.
        keys: Pattern of the keys to list with their shapes.

    Raises:
        ValueError: If it is not what its manifest was written for, or no checkpoint.
    """
    checkpoint = read_checkpoint(path)
    manifest = usable_manifest(path)
    weights = find_state_dict(checkpoint, path)
    elements = sum(value.numel() for value in weights.values())
    size = sum(value.numel() * value.element_size() for value in weights.values())
    lines = [f'{path}: {len(weights)} tensors, {elements / 1e6:.2f} M values, '
             f'{size / 2**20:.1f} MiB', f'prefixes: {count_prefixes(weights)}']
    lines += _manifest_lines(manifest) if manifest else []
    lines += [f'  {key}  {list(value.shape)} {str(value.dtype).removeprefix("torch.")}'
              for key, value in weights.items() if keys and fnmatch(key, keys)]
    lines += [f'beside the weights: {key} ({_describe(value)})'
              for key, value in checkpoint.items()
              if not isinstance(value, Tensor) and key not in ('state_dict', 'meta')]
    meta = checkpoint.get('meta')
    if isinstance(meta, Mapping):
        lines += [f'meta.{key}: {_text(value)}' for key, value in meta.items()]
    return '\n'.join(lines)


def _manifest_lines(manifest: Manifest) -> list[str]:
    versions = ', '.join(f'{name} {text}' for name, text in manifest.versions.items())
    return [f'manifest: epoch {manifest.epoch}, step {manifest.step}, written '
            f'{manifest.written} by {versions}',
            f'{manifest.bytes} bytes, sha256 {manifest.sha256}, as its manifest says']


def _describe(value) -> str:
    size = f' of {len(value)}' if hasattr(value, '__len__') else ''
    return f'{type(value).__name__}{size}'


def _text(value) -> str:
    text = str(value)
    return '\n    '.join(['', *text.splitlines()]) if '\n' in text else text
