"""What training does around a model."""
from ..io.checkpoint import read_checkpoint, write_checkpoint
from ..io.safe_loading import use_safe_loading
from .hooks import CheckpointKeysHook, MomentumHook
from .optim.lars import LARS
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
    'CheckpointKeysHook', 'LARS', 'MomentumHook', 'ReliableRunner',
    'TwoGroupConstructor', 'WarmupCosineLR', 'WarmupPolyLR', 'WarmupStepLR',
    'cosine_momentum', 'momentum_steps', 'read_checkpoint', 'two_groups',
    'use_safe_loading', 'warmup_cosine', 'warmup_poly', 'warmup_steps',
    'write_checkpoint',
]
