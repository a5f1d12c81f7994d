"""What training does around a model."""
from .hooks import MomentumHook
from .lars import LARS
from .optim import TwoGroupConstructor, two_groups
from .schedules import (
    WarmupCosineLR,
    WarmupStepLR,
    cosine_momentum,
    momentum_steps,
    warmup_cosine,
    warmup_steps,
)

__all__ = [
    'LARS', 'MomentumHook', 'TwoGroupConstructor', 'WarmupCosineLR', 'WarmupStepLR',
    'cosine_momentum', 'momentum_steps', 'two_groups', 'warmup_cosine', 'warmup_steps',
]
