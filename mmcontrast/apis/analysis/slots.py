"""A network with slots and its weights, for the tools that look at slots."""
from copy import deepcopy

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...io.checkpoint import (
    check_matching_keys,
    count_prefixes,
    find_state_dict,
    read_checkpoint,
)
from ...io.safe_loading import use_safe_loading
from ...methods.slotcon.score_maps import branch_of
from ...registry import MODELS
from ..config import load_config
from .feature_maps import without_init_log


def load_slot_model(config: str, checkpoint: str | None, branch: str = 'momentum',
                    seed: int = 0, device: str = 'cpu') -> tuple[nn.Module, str | None]:
    """Build the model of a config with the weights of a file, or random ones.

    Args:
        config: Config of a method with slots.
        checkpoint: A checkpoint of its training; None draws weights with ``seed``.
        branch: The branch that will be looked at, ``momentum`` or ``online``; the file
            must hold all of it.

    Returns:
        The model, and a sentence if parts of the other branch are missing.

    Raises:
        ValueError: If the model has no slots, or the file lacks weights of the branch.
    """
    cfg = load_config(config)
    model = _build(cfg, seed, random=checkpoint is None)
    note = None
    if checkpoint is not None:
        weights = find_state_dict(read_checkpoint(checkpoint), checkpoint)
        _check_weights(weights, model, branch, checkpoint, config)
        note = check_matching_keys(weights, model, checkpoint)
        model.load_state_dict(weights, strict=False)
    return model.to(device), note


def _build(cfg: Config, seed: int, random: bool) -> nn.Module:
    model_cfg = deepcopy(cfg.get('model') or {})
    if 'backbone' not in model_cfg:
        raise ValueError(
            f'{cfg.filename} has no model with a backbone; name the config of a method '
            'with slots, such as one of configs/slotcon.')
    # Weights come from the file, or are random on purpose.
    model_cfg['backbone'].pop('init_cfg', None)
    scope = cfg.get('default_scope') or 'mmcontrast'
    use_safe_loading()  # A part may bring a Pretrained of its own.
    with torch.random.fork_rng(devices=[]), without_init_log():
        torch.manual_seed(seed)
        model = MODELS.build(dict(_scope_=scope) | model_cfg)
        if random:
            model.init_weights()
    if not hasattr(model, 'slot_scores'):
        raise ValueError(
            f'{cfg.filename}: {type(model).__name__} has no slots to look at; name the '
            'config of a method with slots, such as one of configs/slotcon.')
    return model


def _check_weights(weights: dict[str, Tensor], model: nn.Module, branch: str,
                   checkpoint: str, config: str) -> None:
    prefix = '' if branch_of(model, branch) is model else f'{branch}.'
    key = f'{prefix}grouping.prototypes'
    if key not in weights:
        raise ValueError(
            f'{checkpoint} holds no prototypes ({key}); it holds '
            f'{count_prefixes(weights)}. Give a checkpoint of training; a released '
            'file goes through tools/convert/official.py first, and an exported '
            'backbone has no slots.')
    wanted = model.state_dict()
    if weights[key].shape != wanted[key].shape:
        raise ValueError(
            f'{checkpoint} has prototypes of shape {list(weights[key].shape)}, the '
            f'model of {config} of {list(wanted[key].shape)} (slots, channels); name '
            'the config it was trained with.')
    parts = tuple(f'{prefix}{name}.' for name in ('backbone', 'neck', 'projector'))
    missing = [name for name, value in wanted.items() if name.startswith(parts) and (
        name not in weights or weights[name].shape != value.shape)]
    if missing:
        raise ValueError(
            f'{checkpoint} lacks {len(missing)} weights of the {branch} branch of '
            f'{config}, first {", ".join(missing[:3])}; name the config it was trained '
            'with.')
