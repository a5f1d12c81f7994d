"""Train models: optimizers, hooks, the runner, exact resume, non-finite values."""
from .hooks import CheckpointKeysHook, MomentumHook
from .optim.lars import LARS
from .optim.layer_decay import LayerDecayConstructor
from .optim.param_groups import TwoGroupConstructor, two_groups
from .optim.schedules import (
    WarmupCosineLR,
    WarmupPolyLR,
    WarmupStepLR,
    cosine_momentum,
    momentum_steps,
    warmup_cosine,
    warmup_poly,
    warmup_steps,
)
from .runner.reliable_runner import ReliableRunner

__all__ = [
    'CheckpointKeysHook', 'LARS', 'LayerDecayConstructor', 'MomentumHook',
    'ReliableRunner', 'TwoGroupConstructor', 'WarmupCosineLR', 'WarmupPolyLR',
    'WarmupStepLR', 'cosine_momentum', 'momentum_steps', 'two_groups',
    'warmup_cosine', 'warmup_poly', 'warmup_steps',
]
