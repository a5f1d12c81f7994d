"""What training does around a model."""
from .checkpoint import read_checkpoint, write_checkpoint
from .hooks import CheckpointKeysHook, MomentumHook
from .lars import LARS
from .optim import TwoGroupConstructor, two_groups
from .runner import TrustedRunner
from .safe_loading import use_safe_loading
from .schedules import (
    WarmupCosineLR,
    WarmupPolyLR,
    WarmupStepLR,
    cosine_momentum,
    momentum_steps,
    warmup_cosine,
    warmup_poly,
    warmup_steps,
)

__all__ = [
    'CheckpointKeysHook', 'LARS', 'MomentumHook', 'TrustedRunner',
    'TwoGroupConstructor', 'WarmupCosineLR', 'WarmupPolyLR', 'WarmupStepLR',
    'cosine_momentum', 'momentum_steps', 'read_checkpoint', 'two_groups',
    'use_safe_loading', 'warmup_cosine', 'warmup_poly', 'warmup_steps',
    'write_checkpoint',
]
