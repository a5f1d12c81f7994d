"""Photometric augmentation of a whole batch of views, on the device of the model."""
from .params import AugmentParams, Op
from .steps import BatchedSteps, batched_recipe

__all__ = ['AugmentParams', 'BatchedSteps', 'Op', 'batched_recipe']
