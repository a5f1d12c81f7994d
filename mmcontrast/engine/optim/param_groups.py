"""Split parameters into a group with weight decay and one without."""
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ...errors import did_you_mean
from ...io.config_types import type_name
from ...registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS


def two_groups(model: nn.Module) -> list[dict]:
    """Trained parameters in two groups: weights, and tensors of at most one dimension.

    The second group (biases, norms) gets no weight decay and no layer-wise rescaling.
    Decided by dimension, not by name: names like ``downsample.1`` or ``mlp.1`` slip
    through lists of words.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    return [dict(params=[p for p in params if p.ndim > 1]),
            dict(params=[p for p in params if p.ndim <= 1], weight_decay=0.0)]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TwoGroupConstructor:
    """Build an optimizer wrapper over :func:`two_groups`.

    mmengine's default constructor makes one group a tensor, which keeps optimizers from
    running over many tensors at once.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: Must stay empty: the groups are fixed.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        if paramwise_cfg:
            raise ValueError(
                f'TwoGroupConstructor makes its own groups; remove paramwise_cfg='
                f"{paramwise_cfg} or use constructor='DefaultOptimWrapperConstructor'.")
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        cfg = dict(self.optim_wrapper_cfg)
        optimizer_cfg = dict(cfg.pop('optimizer'))
        groups = two_groups(model)
        if type_name(optimizer_cfg) == 'LARS':
            groups[1]['adapt'] = False
        optimizer = OPTIMIZERS.build(
            optimizer_cfg, default_args=dict(params=[g for g in groups if g['params']]))
        cfg.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(cfg, default_args=dict(optimizer=optimizer))


def unmatched_custom_keys(model: nn.Module, optim_wrapper: object) -> list[str]:
    """A sentence on each of ``paramwise_cfg.custom_keys`` that no parameter has.

    A misspelled one would leave the settings of its parameters as they are, silently.

    Args:
        model: Its parameters are searched for names that contain the key.
        optim_wrapper: Config of the wrapper, or of several by name.
    """
    if not isinstance(optim_wrapper, dict):
        return []
    if 'optimizer' not in optim_wrapper:
        return [sentence for inner in optim_wrapper.values()
                for sentence in unmatched_custom_keys(model, inner)]
    custom = (optim_wrapper.get('paramwise_cfg') or {}).get('custom_keys')
    if not isinstance(custom, dict):
        return []
    # mmengine compares with the path that begins with a dot.
    names = [f'.{name}' for name, _ in model.named_parameters()]
    parts = {part for name in names for part in (name[1:], *name.split('.'))}
    return [
        f'optim_wrapper.paramwise_cfg.custom_keys: no parameter has {key!r} in its name'
        + did_you_mean(key, parts) for key in custom
        if not any(key in name for name in names)]
