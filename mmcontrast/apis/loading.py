"""Build the network of a config, load a checkpoint into it, and put it on a device.

Every tool and function that uses a trained network gets it here. Checkpoints are read
as data only, and nothing else is read: neither the pretrained weights that training
starts from nor a dataset.
"""
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger, print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from ..engine.hooks.class_texts import check_class_texts
from ..engine.nonfinite.run_state import nonfinite_buffers
from ..engine.nonfinite.tensors import float_tensors, nonfinite_names
from ..engine.resume.rng_state import preserved_rng
from ..errors import UserValueError
from ..io.checkpoint import check_matching_keys, find_state_dict, read_checkpoint
from ..io.config_text import parse_config_text
from ..io.registered_types import outside_registries
from ..io.safe_loading import use_safe_loading
from ..models.clip_weights import load_clip_state
from ..registry import DATASETS, MODELS, UnknownTypeError, class_of, default_scope
from .config import existing_file, load_config

#: Libraries whose backbones carry a config of theirs when we export them.
MM_LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg')


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, in eval mode, and what it was built from.

    Attributes:
        model: On its device.
        config: The config it was built from.
        dataset_meta: ``classes`` and ``palette`` of the dataset that it was trained
            on, where checkpoint, config or dataset class know them.
        note: A sentence if only part of the weights was loaded, else None.
    """

    model: nn.Module
    config: Config
    dataset_meta: dict = field(default_factory=dict)
    note: str | None = None


def load_model(config: str, checkpoint: str | None, device: str | None = None,
               cfg_options: dict | None = None, complete: bool = True, seed: int = 0,
               wanted: str = 'give the config of a model.',
               check: Callable[[nn.Module, Mapping[str, Tensor] | None], None]
               | None = None) -> LoadedModel:
    """Build the model of a config with the weights of a checkpoint.

    Args:
        config: Config file, or ``mmcontrast::...``.
        checkpoint: A checkpoint of its training, or a converted released one; None
            for random weights.
        device: 'cpu', 'cuda:1', ...; None for a GPU if there is one.
        cfg_options: Overrides of the config, dotted keys.
        complete: Whether the file must hold all weights of the model.
        seed: Of random weights.
        wanted: Which config is asked for, for messages.
        check: Called with the model and the weights (None for random ones) before they
            are loaded; raises if they cannot be used.

    Raises:
        FileNotFoundError: If a file is missing.
        KeyError: If no weight fits.
        ValueError: If the config has no model, weights are missing or of another
            shape, the class texts differ, or there is no such device.
    """
    cfg = load_config(config, cfg_options)
    path = checkpoint and existing_file(checkpoint, 'checkpoint')
    where = select_device(device)
    model = build_model(cfg, None, seed, checkpoint is None, wanted)
    content = {} if path is None else read_checkpoint(path)
    weights = None if path is None else find_state_dict(content, path)
    if check is not None:
        check(model, weights)
    note = None
    if weights is not None:
        check_class_texts(model, content, checkpoint)
        note = load_weights(model, weights, checkpoint, config if complete else None)
    model = revert_sync_batchnorm(model).to(where).eval()
    return LoadedModel(model, cfg, _dataset_meta(cfg, content), note)


def load_backbone(cfg: Config, checkpoint: str | None, prefix: str | None = None,
                  seed: int = 0) -> tuple[nn.Module, str | None]:
    """Build ``cfg.model.backbone`` with the weights of a file, or random ones.

    Args:
        checkpoint: A checkpoint of training or an exported backbone; None for random
            weights.
        prefix: Of the backbone's keys in the file; found by itself if None.
        seed: Of random weights.

    Returns:
        The backbone, and a sentence if only part of the weights fits.

    Raises:
        KeyError: If no weight fits the backbone.
        ValueError: If the config has no backbone, or weights have another shape.
    """
    backbone = build_model(cfg, 'backbone', seed, init_weights=checkpoint is None)
    if checkpoint is None:
        return backbone, None
    weights = read_weights(checkpoint)
    if prefix is None:
        prefix = 'backbone.' if any(k.startswith('backbone.') for k in weights) else ''
    return backbone, load_weights(backbone, with_prefix(weights, prefix), checkpoint)


def load_clip(weights: str) -> tuple[nn.Module, nn.Module, dict]:
    """Build both towers of a CLIP written by ``tools/convert/export_clip.py``.

    Returns:
        Image tower and text tower in eval mode, and the model config in the format of
        open_clip, read from the ``.json`` beside the weights.

    Raises:
        FileNotFoundError: If the weights or the ``.json`` are missing.
    """
    state = load_clip_state(existing_file(weights, 'CLIP weights'))
    sizes = json.loads(Path(existing_file(
        str(Path(weights).with_suffix('.json')), 'model config')).read_text())
    vision, text = sizes['vision_cfg'], sizes['text_cfg']
    towers = [dict(
        type='CLIPResNetWithAttention', layers=vision['layers'], width=vision['width'],
        embed_dims=sizes['embed_dim'], input_size=vision['image_size'])]
    towers.append(dict(
        type='CLIPTextEncoder', embed_dims=sizes['embed_dim'],
        quick_gelu=sizes.get('quick_gelu', False), **{key: text[key] for key in (
            'width', 'heads', 'layers', 'context_length', 'vocab_size')}))
    image_tower, text_tower = (MODELS.build(tower).eval() for tower in towers)
    for tower in (image_tower, text_tower):
        tower.load_clip(state)
    return image_tower, text_tower, sizes


def build_model(cfg: Config, part: str | None = None, seed: int = 0,
                init_weights: bool = False,
                wanted: str = 'give the config of a model.') -> nn.Module:
    """Build ``cfg.model``, or a part of it, without any pretrained weights.

    Args:
        part: Key in ``cfg.model``, such as ``'backbone'``.
        seed: Of the weights that the constructor draws; the generators of the process
            are left as they were.
        init_weights: Whether to initialize as for training; else the caller loads
            weights.
        wanted: Which config is asked for, for the message.

    Raises:
        ValueError: If the config has no model, or no such part.
    """
    settings = deepcopy(cfg.get('model') or {})
    name = 'model' if part is None else f'model.{part}'
    settings = settings if part is None else settings.get(part)
    if not settings:
        raise UserValueError(f'{cfg.filename} has no {name}; {wanted}')
    settings.pop('pretrained', None)
    for owner in (settings, settings.get('backbone')):
        if isinstance(owner, dict) and (part or owner is not settings):
            owner.pop('init_cfg', None)
    use_safe_loading()  # A part may bring a Pretrained of its own.
    with (preserved_rng(cuda=False), without_init_log(),
          default_scope(cfg, 'mmcontrast')):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed: the GPU too
        # Ours are found in configs of any scope, others as the Runner finds them.
        kind = settings.get('type')
        registry = MODELS if callable(kind) or kind in MODELS else ROOT_MODELS
        model = registry.build(settings)
        if init_weights and hasattr(model, 'init_weights'):
            model.init_weights()
    return model


def read_weights(checkpoint: str | Path) -> dict[str, Tensor]:
    """The weights of a file by name, on the CPU; see :func:`find_state_dict`."""
    return find_state_dict(read_checkpoint(checkpoint), checkpoint)


def with_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights below a prefix, by their names behind it."""
    return {k.removeprefix(prefix): v for k, v in weights.items()
            if k.startswith(prefix)}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: str,
                 config: str | None = None) -> str | None:
    """Load what fits; weights of the file that the network lacks are ignored.

    Args:
        weights: By the names of the network.
        path: The file they are from, for messages.
        config: Given if no weight may be missing: what the network was built from.

    Returns:
        A sentence if file and network do not hold the same weights, else None.

    Raises:
        KeyError: If no weight fits.
        ValueError: If a weight has another shape, or one is missing that must not be.
    """
    note = check_matching_keys(weights, network, path)
    by_design = nonfinite_buffers(network)
    advice = 'Name the config that the checkpoint was trained with.'
    try:
        # Models with class texts say in terms of classes which shapes do not fit.
        missing, _ = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserValueError(f'{note} {advice} {error}') from error
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    if config is not None and missing:
        raise UserValueError(
            f'{note} {config} needs all of its weights; missing are '
            f'{", ".join(missing[:3])}{", ..." * (len(missing) > 3)}. {advice}')
    found = set(nonfinite_names(float_tensors(weights))) - by_design
    found = sorted(found & network.state_dict().keys())
    if found:
        print_log(
            f'{path}: {", ".join(found[:3])}{", ..." * (len(found) > 3)} of it hold '
            'NaN or Inf, so that nothing the network gives is valid. Take an earlier '
            'checkpoint.', logger='current', level=logging.WARNING)
    return note


def has_baseline(baseline: str | None) -> bool:
    """Whether the same network with random weights is asked for, too.

    Raises:
        ValueError: If ``baseline`` is neither ``'random'`` nor None.
    """
    if baseline not in (None, 'random'):
        raise UserValueError(f"baseline must be 'random' or None, got {baseline!r}.")
    return baseline is not None


def select_device(name: str | None) -> torch.device:
    """The device of a name; a GPU if there is one if None.

    Raises:
        ValueError: If the name is none, or this machine has no such device.
    """
    try:
        device = torch.device(name or get_device())
    except RuntimeError as error:
        raise UserValueError(
            f"device {name!r}: expected 'cpu', 'cuda' or 'cuda:1'; "
            f'{str(error).splitlines()[0]}') from None
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise UserValueError(
            f'device {name!r} is not there: PyTorch sees '
            f"{torch.cuda.device_count()} GPUs here. 'cpu' always works.")
    return device


def config_in_checkpoint(path: str) -> Config:
    """The config that a checkpoint carries, parsed and not run.

    Raises:
        ValueError: If it carries none, or of a network that we cannot build from it.
    """
    meta = read_checkpoint(path).get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    if meta.get('to') in ('timm', 'torchvision'):
        raise UserValueError(
            f"{path} has the names of {meta['to']}: name the network, such as "
            f"{meta['to']}:resnet50, and this file with --weights.")
    text = meta.get('backbone') or meta.get('cfg')
    if not isinstance(text, str):
        raise UserValueError(
            f'{path} carries no config, so its network is unknown: name a config file '
            'or timm:NAME, torchvision:NAME, mmpretrain:NAME, and this file with '
            '--weights.')
    try:
        found = parse_config_text(text, class_names=True)
    except ValueError as error:
        raise UserValueError(
            f'{path}: the config it carries is no plain values, and nothing in a '
            'checkpoint is run; name the config file instead, and this file with '
            f'--weights. {error}') from None
    left_out = outside_registries(found)
    if left_out:
        raise UserValueError(
            f'{path}: the config it carries names {left_out}, which would be imported '
            'from outside the registries. If you trust it, name the config file '
            'instead, and this file with --weights.')
    if 'backbone' in found:
        found = dict(model=dict(backbone=found['backbone']))
        if 'mean' in meta and 'std' in meta:
            found['model']['data_preprocessor'] = dict(
                {key: [float(x) for x in meta[key].split(',')]
                 for key in ('mean', 'std')},
                bgr_to_rgb=meta.get('channel_order') != 'BGR')
        if meta.get('to') in MM_LIBRARIES:
            found['default_scope'] = meta['to']
    return Config(found, filename=None)


def tested_dataset(cfg: Config) -> dict:
    """Config of the dataset that the config tests on, out of its wrappers."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


@contextmanager
def without_init_log() -> Iterator[None]:
    """Silence mmengine, which logs how each parameter was initialized."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _dataset_meta(cfg: Config, checkpoint: dict) -> dict:
    """``classes`` and ``palette`` of the checkpoint, the config, or the dataset."""
    dataset = tested_dataset(cfg)
    sources = [(checkpoint.get('meta') or {}).get('dataset_meta'),
               dataset.get('metainfo')]
    if dataset.get('type'):
        try:
            scope = cfg.get('default_scope') or 'mmcontrast'
            with DATASETS.switch_scope_and_registry(scope) as registry:
                sources.append(class_of(dataset['type'], registry).METAINFO)
        except (UnknownTypeError, AttributeError, ImportError, KeyError):
            pass  # A dataset without class names of its own.
    found: dict = {}
    for source in sources:
        # Checkpoints of mmdet 2 and mmseg 0 write the keys in capitals.
        source = {str(key).lower(): value for key, value in (source or {}).items()}
        if 'classes' not in found and source.get('classes') is not None:
            found['classes'] = [str(name) for name in source['classes']]
        if 'palette' not in found and source.get('palette') is not None:
            palette = np.asarray(source['palette'])
            if palette.ndim == 2 and palette.shape[1] == 3:
                found['palette'] = palette.astype(np.uint8)
    return found
