"""Stop when a checkpoint does not fit the model."""
import os

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from ...io.checkpoint import check_matching_keys, find_state_dict, read_checkpoint
from ...io.config_types import PRETRAINED, type_name
from ...io.former_keys import current_keys
from ...io.safe_loading import use_safe_loading
from ...registry import HOOKS
from ..distributed.unwrap import unwrap_model
from ..resume.parameter_order import reorder_optimizer

# These two strip the prefix 'backbone.' from keys by themselves.
_STRIP_BACKBONE = ('mmdet.models.backbones.swin', 'mmseg.models.backbones.swin')


@HOOKS.register_module()
class CheckpointKeysHook(Hook):
    """Stop when ``load_from``, ``resume`` or ``init_cfg`` matches no weight at all.

    mmengine loads what fits and trains from random weights where nothing does. If only
    a part fits, a warning gives the counts. From here on files are read as data only.
    """

    priority = 'VERY_HIGH'

    def __init__(self):
        use_safe_loading()

    def before_run(self, runner: Runner):
        for name, module in unwrap_model(runner.model).named_modules():
            for cfg in _pretrained_cfgs(module):
                self._check_pretrained(name, module, cfg)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict):
        path = getattr(runner, '_load_from', None) or 'checkpoint'
        model = unwrap_model(runner.model)
        _use_current_keys(checkpoint, model, runner)
        message = check_matching_keys(find_state_dict(checkpoint, path), model, path)
        if message:
            runner.logger.warning(message)

    def _check_pretrained(self, name: str, module: nn.Module, cfg: dict):
        path, prefix = cfg['checkpoint'], cfg.get('prefix') or ''
        if not os.path.isfile(path):
            return  # A URL, or a missing file, which mmengine reports.
        weights = find_state_dict(read_checkpoint(path), path)
        if not prefix and type(module).__module__.startswith(_STRIP_BACKBONE):
            prefix = 'backbone.'
        part = {k[len(prefix):]: v for k, v in weights.items() if k.startswith(prefix)}
        check_matching_keys(part or weights, module, path, f'init_cfg of {name}')


def _use_current_keys(checkpoint: dict, model: nn.Module, runner: Runner):
    """Rename what was saved before parts of the model were renamed."""
    former = checkpoint.get('state_dict') or {}
    renamed = current_keys(former, model)
    if renamed.keys() == former.keys():
        return
    checkpoint['state_dict'] = renamed
    # The averages of an EMAHook, which swaps both by their keys.
    if 'ema_state_dict' in checkpoint:
        checkpoint['ema_state_dict'] = current_keys(
            checkpoint['ema_state_dict'], model, prefix='module.')
    wrapper = runner.optim_wrapper
    # An OptimWrapperDict has the states of several optimizers.
    if ('optimizer' in checkpoint and isinstance(wrapper, OptimWrapper)
            and not isinstance(wrapper, OptimWrapperDict)):
        reorder_optimizer(checkpoint, model, wrapper.optimizer)


def _pretrained_cfgs(module: nn.Module) -> list[dict]:
    cfgs = getattr(module, 'init_cfg', None) or []
    cfgs = [cfgs] if isinstance(cfgs, dict) else cfgs
    return [cfg for cfg in cfgs if type_name(cfg) in PRETRAINED]
