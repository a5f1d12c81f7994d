"""Unwrap the model of a Runner."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model without wrappers of distribution and test-time augmentation."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        return unwrap_model(model.module)
    return model
