"""Colour and blur of a whole batch of views, on the device of the model."""
from .params import Choices, Op
from .steps import BatchedSteps, batched_recipe

__all__ = ['BatchedSteps', 'Choices', 'Op', 'batched_recipe']
