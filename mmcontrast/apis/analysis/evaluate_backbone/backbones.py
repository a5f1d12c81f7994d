"""Open any backbone that a user can name, frozen, for evaluation."""
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from ...._compat import install_command
from ....engine.resume.rng_state import preserved_rng
from ....errors import UserKeyError
from ....evaluation.features import FrozenBackbone
from ....io.checkpoint import check_matching_keys
from ....io.config_types import full_name
from ....registry import MODELS, class_of
from ...config import existing_file, load_config
from ...convert.export_backbone import default_branch
from ...loading import (
    config_in_checkpoint,
    load_backbone,
    read_weights,
    with_prefix,
)
from ..feature_maps import normalization
from .other_networks import timm_backbone, torchvision_backbone

RANDOM = 'random'
_LIBRARIES = ('timm', 'torchvision', 'mmpretrain')


@dataclass(frozen=True)
class BackboneChoice:
    """Which backbone, with which weights, and which of its layers.

    Attributes:
        network: A config file (or ``mmpretrain::...``) whose ``model.backbone`` is
            built; ``timm:NAME``, ``torchvision:NAME``, ``mmpretrain:NAME``; or a
            checkpoint that carries its config: of training, or exported to an mm
            library.
        weights: A file; ``random``; None for a checkpoint that is the network as well.
        layer: Stage of a network in stages, block of a transformer, from 0; the last
            that it gives if None.
        branch: ``online`` or ``momentum`` of a two-view method; the one that the method
            exports if None.
        prefix: Of the backbone's keys in the file; found by itself if None.
        seed: Of random weights.
        device: Where the network runs; a GPU, if there is one, if None.
        batch_size: Images a pass.
    """

    network: str
    weights: str | None = None
    layer: int | None = None
    branch: str | None = None
    prefix: str | None = None
    seed: int = 0
    device: str | None = None
    batch_size: int = 16

    def randomly(self) -> 'BackboneChoice':
        """The same network with random weights."""
        return replace(self, weights=RANDOM)

    @property
    def title(self) -> str:
        if self.weights == RANDOM:
            return 'random weights'
        return Path(self.weights or self.network).name


def open_backbone(choice: BackboneChoice) -> tuple[FrozenBackbone, str | None]:
    """Build a backbone and give it its weights.

    Returns:
        The backbone on its device, and a sentence if only part of the weights fits.

    Raises:
        FileNotFoundError: If there is no such file.
        KeyError: If no weight fits.
        ValueError: If the network or the layer is unknown, or no weights are named.
    """
    library, _, name = choice.network.partition(':')
    if library in _LIBRARIES and not name.startswith(':'):
        _need_weights(choice)
        if library == 'mmpretrain':
            opened, note = _from_config(_named_config(name), choice)
        else:
            opened, note = _from_library(library, name, choice)
    elif choice.network.endswith('.py') or '::' in choice.network:
        _need_weights(choice)
        opened, note = _from_config(load_config(choice.network), choice)
    else:
        cfg = config_in_checkpoint(existing_file(choice.network, 'backbone'))
        weights = choice.weights or choice.network
        opened, note = _from_config(cfg, replace(choice, weights=weights))
    opened.network.requires_grad_(False).to(choice.device or get_device())
    return opened, note


def _from_config(cfg: Config, choice: BackboneChoice
                 ) -> tuple[FrozenBackbone, str | None]:
    """``cfg.model.backbone``, as :func:`load_backbone` builds it."""
    backbone = cfg.get('model', {}).get('backbone')
    if not backbone:
        raise ValueError(f'{choice.network} has no model.backbone; give the config of '
                         'a model.')
    mean, std = normalization(cfg)
    file, prefix = choice.weights, choice.prefix
    if file == RANDOM:
        file = None
    elif prefix is None:
        prefix = _branch_prefix(cfg, choice)
    network, note = load_backbone(_with_layer(cfg, choice.layer), file, prefix,
                                  choice.seed)
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get(
        'data_preprocessor') or {}
    # Images are read as BGR by mm libraries, which convert them by default.
    bgr = not preprocessor.get('bgr_to_rgb', preprocessor.get('to_rgb', True))
    return FrozenBackbone(
        network, mean, std, bgr=bgr, batch_size=choice.batch_size), note


def _from_library(library: str, name: str, choice: BackboneChoice
                  ) -> tuple[FrozenBackbone, str | None]:
    with preserved_rng(cuda=False):
        torch.default_generator.manual_seed(choice.seed)
        build = timm_backbone if library == 'timm' else torchvision_backbone
        pyramid = build(name, choice.layer)
    note = None
    if choice.weights != RANDOM:
        note = _fill(pyramid.model, choice)
    return FrozenBackbone(pyramid, pyramid.mean, pyramid.std, multiple=pyramid.multiple,
                          batch_size=choice.batch_size), note


def _fill(model: nn.Module, choice: BackboneChoice) -> str | None:
    path = existing_file(choice.weights, 'weights')
    part = with_prefix(read_weights(path), choice.prefix or '')
    note = check_matching_keys(part, model, path)
    wanted = model.state_dict()
    fitting = {k: v for k, v in part.items()
               if k in wanted and v.shape == wanted[k].shape}
    model.load_state_dict(fitting, strict=False)
    # A classifier in the file that the network lacks is no loss.
    return note if set(wanted) - set(fitting) else None


def _branch_prefix(cfg: Config, choice: BackboneChoice) -> str | None:
    """Where a two-view method keeps the branch that is asked for.

    None, to be found out, where the file has no such branch: one exported backbone.
    """
    if choice.branch not in (None, 'online', 'momentum'):
        raise ValueError(
            f"branch must be 'online' or 'momentum', got {choice.branch!r}.")
    kind = full_name(_scoped(cfg.model.get('type', ''), cfg))
    # Other libraries have no branches, and need not be imported to be asked.
    usual = (default_branch(dict(type=kind)) if kind.startswith('mmcontrast.')
             else 'online')
    if (choice.branch or usual) != 'momentum':
        return None
    path = existing_file(choice.weights, 'weights')
    prefix = 'momentum.backbone.'
    found = any(key.startswith(prefix) for key in read_weights(path))
    if choice.branch == 'momentum' and not found:
        raise UserKeyError(f'{path}: no weight of a momentum branch ({prefix}*).')
    return prefix if found else None


def _with_layer(cfg: Config, layer: int | None) -> Config:
    """The config of the backbone with maps, and only the asked one."""
    backbone = {k: v for k, v in cfg.model.backbone.items() if k != 'init_cfg'}
    kind = _scoped(backbone['type'], cfg)
    accepted = _arguments(class_of(kind, MODELS))
    if 'out_type' in accepted:
        backbone['out_type'] = 'featmap'
    if layer is not None:
        if 'out_indices' not in accepted:
            raise ValueError(f'{full_name(kind)} gives one map; leave --layer out.')
        backbone['out_indices'] = (layer,)
    backbone['type'] = kind
    scope = {key: cfg[key] for key in ('default_scope',) if key in cfg}
    return Config(dict(model=dict(backbone=backbone), **scope))


def _scoped(kind: str | Callable, cfg: Config) -> str | Callable:
    """Name of a type with the library it is from; a class is returned as it is."""
    if not isinstance(kind, str) or not kind or '.' in kind:
        return kind
    return f'{cfg.get("default_scope") or "mmcontrast"}.{kind}'


def _arguments(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if '__init__' in vars(base)
            for name in inspect.signature(base.__init__).parameters}


def _named_config(name: str) -> Config:
    """The config behind a name of mmpretrain's model list."""
    try:
        from mmpretrain.apis import ModelHub
    except ImportError as error:
        raise ImportError('mmpretrain:NAME needs mmpretrain: '
                          f'{install_command("mmpretrain")}') from error
    try:
        cfg = ModelHub.get(name).config
    except ValueError as error:
        raise ValueError(
            f'mmpretrain knows no model {name!r} ({error}); mmpretrain.list_models('
            f"'*resnet*') lists what it has.") from None
    cfg.setdefault('default_scope', 'mmpretrain')
    return cfg


def _need_weights(choice: BackboneChoice) -> None:
    if choice.weights is None:
        raise ValueError(
            f'{choice.network} names a network without weights: add --weights FILE, or '
            '--weights random for a baseline. Nothing is downloaded.')
