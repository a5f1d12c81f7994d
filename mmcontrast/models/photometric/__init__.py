"""Color and blur of a whole batch of views, on the device of the model."""
from .params import AugmentParams, Op
from .steps import BatchedSteps, batched_recipe

__all__ = ['BatchedSteps', 'AugmentParams', 'Op', 'batched_recipe']
