"""The model that a config names, out of what a Runner wraps around it."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """Without the wrappers of distribution and of test-time augmentation."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        return unwrap_model(model.module)
    return model
