"""Lower the learning rate of the early layers of a backbone."""
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ...registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with layer-wise learning rate decay.

    A parameter at depth d of D gets ``rate ** (D - 1 - d)`` times its learning rate,
    where the heads are at depth D - 1. ViTDet (Li et al., ECCV 2022) uses 0.7 for ViT-B
    and 0.8 for ViT-L. mmpretrain's constructor does the same for whole classifiers,
    those of mmdet and mmseg only for a few backbones; this one asks the backbone, for
    which any with mmpretrain's ``get_layer_depth`` will do.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: ``layer_decay_rate`` in (0, 1], and any option of mmengine's
            constructor, such as ``norm_decay_mult`` or ``custom_keys``.

    Raises:
        ValueError: If the rate is missing or out of range.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if rate is None or not 0 < rate <= 1:
            raise ValueError(
                'LayerDecayConstructor: paramwise_cfg needs a layer_decay_rate in '
                f'(0, 1], such as 0.7, got {rate}.')
        self.rate = rate

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   **kwargs) -> None:
        """Add a group for every parameter of ``module``, as in mmengine."""
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:      # mmengine calls this for every child too.
            return
        name, backbone = self._backbone(module)
        names = {id(param): key for key, param in module.named_parameters()}
        for group in params:
            depth, depths = backbone.get_layer_depth(
                names[id(group['params'][0])], prefix=name)
            group['lr'] = group.get('lr', self.base_lr) * self.rate ** (
                depths - 1 - depth)

    def _backbone(self, model: nn.Module) -> tuple[str, nn.Module]:
        """Prefix of the parameters, and the module that knows their depths."""
        for name, module in model.named_modules():
            if hasattr(module, 'get_layer_depth'):
                return f'{name}.' if name else '', module
        raise TypeError(
            f'LayerDecayConstructor: no part of {type(model).__name__} has a '
            'get_layer_depth(param_name, prefix). PlainViT and the transformers of '
            'mmpretrain have it.')
