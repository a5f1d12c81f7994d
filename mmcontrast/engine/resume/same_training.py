"""Refuse to resume from the checkpoint of another model, optimizer or schedule."""
import re

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from ...errors import UserValueError
from ...io.config_text import parse_config_text
from ...io.former_keys import current_keys
from ..distributed.unwrap import unwrap_model


def check_same_training(runner: Runner, checkpoint: dict, path: str) -> None:
    """Compare a checkpoint to resume from with the model and optimizer of a run.

    mmengine loads the weights that fit, with warnings, and fails in the optimizer, or
    steps later.

    Raises:
        UserValueError: If it is of another model, of other sizes, of another optimizer,
            or of more or fewer schedules; names both.
    """
    model = unwrap_model(runner.model)
    if 'FullyShardedDataParallel' in type(runner.model).__name__:
        return  # Its parameters are flat; torch compares them.
    meta = checkpoint.get('meta') or {}
    then = _settings(meta.get('cfg'))
    written_by = meta.get('model') or _last_part(_get(then, 'model', 'type'))
    difference = _different_weights(checkpoint.get('state_dict') or {}, model)
    instead = (f' A run resumes from its own checkpoints: use the config of {path}, or '
               'start a run from its weights, with load_from and without --resume.')
    mine = type(model).__name__
    if difference and written_by and written_by != mine:
        raise UserValueError(
            f'{path} is a checkpoint of {written_by}, and this config trains {mine}.'
            f'{instead}')
    if difference and difference.shape:
        raise UserValueError(
            f'{path} is a checkpoint of {mine} with other settings: '
            f'{difference.text}.{instead}')
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapper) and not isinstance(wrapper, OptimWrapperDict):
        kind = meta.get('optimizer') or _last_part(
            _get(then, 'optim_wrapper', 'optimizer', 'type'))
        text = _different_optimizer(checkpoint.get('optimizer'), kind, wrapper)
        if text:
            raise UserValueError(f'{path} was written with {text}.{instead}')
    # mmengine gives the states to the schedules by their position.
    counts = [_num_schedules(schedules) for schedules in (
        checkpoint.get('param_schedulers'), runner.param_schedulers)]
    if counts[0] != counts[1]:
        raise UserValueError(
            f'{path} was written with {counts[0]} schedules, and this config has '
            f'{counts[1]} in param_scheduler: how far each has got cannot be told.'
            f'{instead}')


def names_of(runner: Runner) -> dict[str, str]:
    """Classes of the model and the optimizer, for the ``meta`` of a checkpoint."""
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    return dict(model=type(unwrap_model(runner.model)).__name__,
                optimizer=type(optimizer).__name__ if optimizer is not None else '')


class _Difference:
    """How the weights of a checkpoint differ from those of a model."""

    def __init__(self, text: str, shape: bool) -> None:
        self.text, self.shape = text, shape


def _different_weights(saved: dict, model: nn.Module) -> _Difference | None:
    saved = current_keys(
        {key.removeprefix('module.'): value for key, value in saved.items()}, model)
    own = model.state_dict()
    for name in own.keys() & saved.keys():
        if own[name].shape != saved[name].shape:
            return _Difference(
                f'{name} has the shape {tuple(saved[name].shape)} there and '
                f'{tuple(own[name].shape)} here', True)
    other = sorted(own.keys() ^ saved.keys())
    return _Difference(f'only one of them has {other[0]}', False) if other else None


def _different_optimizer(saved: dict | None, kind: str, wrapper: OptimWrapper
                         ) -> str | None:
    if not saved or 'param_groups' not in saved:
        return None
    sizes = [[len(group['params']) for group in groups]
             for groups in (saved['param_groups'], wrapper.optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        counts = [f'{sum(part)} parameters in {len(part)} groups' for part in sizes]
        return f'an optimizer of {counts[0]}, and this run has one of {counts[1]}'
    mine = type(wrapper.optimizer).__name__
    return f'{kind}, and this config has {mine}' if kind and kind != mine else None


def _num_schedules(schedules: object) -> int:
    """How many schedules these are, built or not, of one optimizer or of several."""
    if isinstance(schedules, dict) and 'type' not in schedules:
        return sum(map(_num_schedules, schedules.values()))
    return len(schedules or ()) if not isinstance(schedules, dict) else 1


def _settings(text: object) -> dict:
    # A config whose types are classes is written with their names.
    text = re.sub(r'\btype=([A-Za-z_][\w.]*)', r"type='\1'", str(text or ''))
    try:
        return parse_config_text(text)
    except ValueError:
        return {}


def _get(settings: object, *keys: str) -> object:
    for key in keys:
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _last_part(name: object) -> str:
    """``SGD`` for ``torch.optim.sgd.SGD``."""
    return name.strip('<>\'"').rpartition('.')[2] if isinstance(name, str) else ''
