"""Make mmengine read checkpoints as data only, without executing anything."""
import functools
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ..errors import UserValueError
from .checkpoint import read_checkpoint
from .config_text import parse_config_text
from .safe_globals import safe_globals, unsafe_file_message

# mmengine's loaders of files that are not local, and their URL prefixes.
_REMOTE = dict(
    load_from_http=('http://', 'https://'),
    load_from_torchvision=('modelzoo://', 'torchvision://'),
    load_from_openmmlab=('open-mmlab://', 'openmmlab://'),
    load_from_mmcls=('mmcls://',),
    load_from_ceph=(r'(\S+\:)?s3://', r'(\S+\:)?petrel://'),
    load_from_pavi=('pavi://',))
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


def use_safe_loading() -> None:
    """Let mmengine (``load_from``, ``--resume``, ``init_cfg``) read files as data only.

    Also downloaded files, and config text in a checkpoint.
    """
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    for name, prefixes in _REMOTE.items():
        loader = _as_data(getattr(mmengine_checkpoint, name))
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def load_from_local(filename: str, map_location=None) -> dict:
    """:func:`read_checkpoint` as a loader of mmengine, which logs its name."""
    return _for_mmengine(read_checkpoint(filename, map_location), filename)


def _as_data(loader: Callable) -> Callable:
    """A loader of mmengine that accepts data only."""
    @functools.wraps(loader)
    def load(filename: str, map_location=None) -> dict:
        try:
            with safe_globals(), _weights_only():
                checkpoint = loader(filename, map_location)
        except pickle.UnpicklingError as error:
            raise UserValueError(unsafe_file_message(filename, error)) from error
        return _for_mmengine(checkpoint, filename)
    return load


@contextmanager
def _weights_only() -> Iterator[None]:
    """Inside, ``torch.load`` reads data only, whatever its caller asks for."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        os.environ.pop(_FORCE)
        if before is not None:
            os.environ[_FORCE] = before


def _for_mmengine(checkpoint: dict, filename: str) -> dict:
    """Weights where mmengine looks, and no text that it would execute as Python."""
    # Released files keep their weights under 'model', where mmengine does not look.
    if 'state_dict' not in checkpoint and isinstance(checkpoint.get('model'), dict):
        checkpoint = checkpoint | dict(state_dict=checkpoint['model'])
    hub = checkpoint.get('message_hub')
    infos = hub.get('runtime_info') if isinstance(hub, dict) else None
    for owner in (checkpoint.get('meta'), infos):
        if isinstance(owner, dict):
            # 'config' was mmcv's; resume executes it to compare the number of GPUs.
            owner.pop('config', None)
            problem = _code_in(owner.get('cfg'))
            if problem:
                del owner['cfg']
                print_log(f'{filename}: its config text is ignored. {problem}',
                          logger='current', level=logging.WARNING)
    return checkpoint


def _code_in(text) -> str | None:
    """What mmengine would execute in a config text; None if it is data."""
    if not isinstance(text, str):
        return None
    try:
        settings = parse_config_text(text)
    except ValueError as error:
        return str(error)
    if '_base_' in settings:
        return f"It names another file to execute, _base_ = {settings['_base_']!r}."
    return None
