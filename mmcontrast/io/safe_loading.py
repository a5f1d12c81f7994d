"""Make mmengine read checkpoints as data only, without executing anything."""
import functools
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ..errors import UserValueError
from .checkpoint import read_checkpoint
from .config_text import parse_config_text
from .registered_types import registered_only
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
            raise UserValueError(_bad_download(filename, error)) from error
        return _for_mmengine(checkpoint, filename)
    return load


def _bad_download(address: str, error: Exception) -> str:
    """Message for a file that was downloaded and is no data."""
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(address).path).name)
    if not path.is_file():
        return unsafe_file_message(address, error)
    return (f'{address}: {unsafe_file_message(path, error)} Remove that file before '
            'you try again, as it is not downloaded twice.')


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
    safe_texts: dict[str, str | None] = {}
    for owner in (checkpoint.get('meta'), infos):
        if not isinstance(owner, dict):
            continue
        # 'config' was mmcv's; resume executes it to compare the number of GPUs.
        owner.pop('config', None)
        text = owner.pop('cfg', None)
        if isinstance(text, str):
            if text not in safe_texts:
                safe_texts[text] = _safe_config_text(text, filename)
            text = safe_texts[text]
        if text is not None:
            owner['cfg'] = text
    return checkpoint


def _safe_config_text(text: str, filename: str) -> str | None:
    """The text as mmengine's inferencers may execute it; None if it is code.

    What would build or import anything but registered classes is left out.
    """
    try:
        settings = parse_config_text(text, class_names=True)
        if '_base_' in settings:
            raise ValueError('It names another file to execute, _base_ = '
                             f'{settings["_base_"]!r}.')
    except ValueError as error:
        return _warn(f'{filename}: its config text is ignored. {error}')
    settings, left_out = registered_only(settings)
    if left_out:
        _warn(f'{filename}: only registered classes are built from the config text of '
              f'a file; left out: {"; ".join(left_out)}.')
    # mmengine substitutes {{...}} before it parses the text, in comments too.
    if not left_out and '{{' not in text:
        with suppress(ValueError):  # Class names without quotes.
            parse_config_text(text)
            return text
    text = Config(settings).pretty_text
    return None if '{{' in text else text


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
