"""Read checkpoints as data only, write them atomically, compare keys with a model."""
import errno
import os
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend
from torch import Tensor, nn

from ..errors import UserKeyError, UserValueError
from .atomic import atomic_write
from .file_kinds import describe_content
from .flax_files import read_flax
from .former_keys import current_keys
from .integrity import UnreadableFileError, check_undamaged, unreadable
from .manifest import remove_manifest
from .safe_globals import (
    safe_globals,
    unreadable_file_message,
    unsafe_file_message,
)


def read_checkpoint(path: str | Path,
                    map_location: str | torch.device | Callable | None = 'cpu',
                    mmap: bool = False, verify: bool = True) -> dict:
    """Read a checkpoint file without executing anything in it.

    Every checkpoint, of whatever use, is opened here.

    Tensors, plain Python values, numpy arrays and scalars, mmengine's log buffers and
    ``argparse.Namespace`` are data; every other object is refused. mmengine's own
    reader falls back to running the file when that happens, this one does not.

    Args:
        path: A file of ``torch.save``, of mmengine, a ``.safetensors`` file, or a
            ``.msgpack`` file of Flax.
        map_location: Device of the tensors, as in ``torch.load``.
        mmap: Read tensors from the disk only when they are used; not for the format
            before torch 1.6.
        verify: Compare the file with its manifest, or with the checksums inside it;
            off if that has been done.

    Returns:
        What the file holds. A safetensors file gives ``dict(state_dict, meta)``, a Flax
        file ``dict(state_dict)`` of arrays by their paths.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or no checkpoint, cannot be read, or holds objects
            that are not data.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        is_what = (' is a folder; name a file in it.' if path.is_dir() else
                   ' is no ordinary file.' if path.exists() else '')
        raise FileNotFoundError(f'{path}{is_what}' if is_what else
                                f'No checkpoint at {path}{_neighbors(path)}')
    try:
        if verify:
            check_undamaged(path)
        return _read(path, map_location, mmap)
    except OSError as error:
        raise UnreadableFileError(
            f'{path} {unreadable(path, error)}. Give this user the right to read it, '
            'or see to the disk or the network it lies on.') from error


def _neighbors(path: Path) -> str:
    """End of a sentence about a missing checkpoint: which files are there instead."""
    if not path.parent.is_dir():
        return f': there is no folder {path.parent} (relative to {Path.cwd()}).'
    files = sorted(path.parent.glob(f'*{path.suffix}'), key=os.path.getmtime)
    names = ', '.join(file.name for file in files[-3:])
    return f'; that folder holds {names}.' if names else '.'


def _read(path: Path, map_location, mmap: bool) -> dict:
    if path.suffix == '.safetensors':
        return _read_safetensors(path, map_location)
    if path.suffix == '.msgpack':
        return dict(state_dict=read_flax(path))
    try:
        with safe_globals():
            checkpoint = torch.load(str(path), map_location, weights_only=True,
                                    mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserValueError(unsafe_file_message(path, error)) from error
    except Exception as error:  # Damaged bytes raise anything, EINVAL too.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise UserValueError(unreadable_file_message(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise UserValueError(
            f'{path} holds a {type(checkpoint).__name__}, expected a dict of tensors, '
            "maybe under 'state_dict'. Save model.state_dict(), not the model.")
    return checkpoint


def find_state_dict(checkpoint: Mapping, path: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, without the ``module.`` of a parallel wrapper.

    Args:
        checkpoint: From :func:`read_checkpoint`: a state dict, or a dict that keeps one
            under ``state_dict`` (OpenMMLab) or ``model`` (many released files).
        path: Named in the error.

    Raises:
        KeyError: If there are no weights.
    """
    for name in ('state_dict', 'model'):
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
            break
    weights = {key.removeprefix('module.'): value for key, value in checkpoint.items()
               if isinstance(value, Tensor)}
    if not weights:
        raise UserKeyError(
            f"{path}: no weights found under 'state_dict', 'model' or at the top; it "
            f'holds {sorted(map(str, checkpoint))[:12]}.')
    return weights


def check_training_checkpoint(checkpoint: Mapping, path: str | Path) -> None:
    """Check that a checkpoint holds what a run resumes from, and not weights alone.

    Raises:
        ValueError: Names what is missing, and what to do with weights.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    missing = [f'meta.{name}' for name in ('epoch', 'iter')
               if type(meta.get(name)) is not int]
    missing += [name for name in ('state_dict', 'message_hub')
                if not isinstance(checkpoint.get(name), Mapping)]
    if missing:
        raise UserValueError(
            f'{path} is no checkpoint of a training: it lacks {", ".join(missing)}. To '
            'start a run from the weights in it, give load_from, and no --resume.')


def write_checkpoint(checkpoint: Mapping, path: str | Path):
    """Save with ``torch.save``, atomically."""
    with atomic_write(path) as file:
        torch.save(dict(checkpoint), file)
        remove_manifest(path)


class AtomicBackend(LocalBackend):
    """mmengine's local files, written atomically.

    ``CheckpointHook(backend_args=dict(backend='atomic'))``.
    """

    def put(self, obj: bytes, filepath: str | Path):
        """Write ``obj`` to ``filepath``."""
        with atomic_write(filepath) as file:
            file.write(obj)


register_backend('atomic', AtomicBackend, force=True)


def check_matching_keys(state_dict: Mapping[str, Tensor], model: nn.Module,
                        path: str | Path, role: str = '') -> str | None:
    """Compare the keys of a checkpoint with those of a model.

    Args:
        state_dict: The weights in the file.
        model: The model to load them into.
        path: The file, for the message.
        role: Its use, for the message, such as ``'init_cfg of backbone'``.

    Returns:
        None if all keys match; else a sentence with the counts.

    Raises:
        KeyError: If no key matches; names the prefixes of both and what to do.
    """
    wanted = model.state_dict()
    state_dict = current_keys(
        {k.removeprefix('module.'): v for k, v in state_dict.items()}, model)
    fits = {k for k, v in state_dict.items()
            if k in wanted and wanted[k].shape == v.shape}
    named = f'{path} ({role})' if role else path
    if not fits:
        raise UserKeyError(
            f'{named}: no weight fits {type(model).__name__}. The file holds '
            f'{count_prefixes(state_dict)}; the model wants {count_prefixes(wanted)}. '
            'The weights of a backbone go into it alone: backbone=dict(..., init_cfg='
            "dict(type='Pretrained', checkpoint=...)), with prefix='backbone.' if its "
            'keys carry one; a released file goes through tools/convert/official.py. '
            f'To look inside: python tools/convert/inspect_checkpoint.py {path}')
    missing = {k for k in wanted if k not in fits}
    unused = {k for k in state_dict if k not in fits}
    if not missing and not unused:
        return None
    wrong_shape = sorted(missing & unused)
    return (f'{named}: {len(fits)} of {len(wanted)} weights of {type(model).__name__} '
            f'loaded; left as they are: {count_prefixes(missing) or "none"}; unused in '
            f'the file: {count_prefixes(unused) or "none"}'
            + (f'; of another shape: {wrong_shape[:5]}' if wrong_shape else '') + '.')


def count_prefixes(keys) -> str:
    """``backbone. (318), momentum.backbone. (318)``: first parts, most keys first."""
    def first(key: str) -> str:
        parts = key.split('.')
        return '.'.join(parts[:2 if parts[0] == 'momentum' else 1][:len(parts) - 1])
    counts = Counter(f'{first(key)}.' if '.' in key else key for key in keys)
    shown = [f'{prefix} ({count})' for prefix, count in counts.most_common(12)]
    return ', '.join(shown + ['...'] * (len(counts) > 12))


def _read_safetensors(path: Path, map_location) -> dict:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(
            f'{path} needs safetensors: pip install safetensors') from error
    named = isinstance(map_location, str | torch.device)
    device = str(map_location) if named else 'cpu'
    try:
        with safe_open(str(path), framework='pt', device=device) as file:
            return dict(state_dict={key: file.get_tensor(key) for key in file.keys()},
                        meta=dict(file.metadata() or {}))
    except SafetensorError as error:
        what = describe_content(path) or f'{error}; it may be truncated'
        raise UserValueError(f'{path} is no safetensors file: {what}') from error
