"""Augment a batch of views photometrically, on the device of the model."""
from .params import AugmentParams, Op
from .steps import BatchedSteps, batched_recipe

__all__ = ['AugmentParams', 'BatchedSteps', 'Op', 'batched_recipe']
