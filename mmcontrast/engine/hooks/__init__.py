"""Provide hooks for mmengine's Runner."""
from .bad_images import BadImagesHook
from .checkpoint_keys import CheckpointKeysHook
from .class_check import ClassCheckHook, check_classes
from .dense_probe_hook import DenseProbeHook
from .disk_guard import DiskGuardHook
from .momentum import MomentumHook
from .nonfinite_guard import NonFiniteGuardHook
from .pretrain_monitor import PretrainMonitorHook
from .shard_position import ShardPositionHook
from .stop_signals import StopSignalsHook

__all__ = [
    'BadImagesHook', 'CheckpointKeysHook', 'ClassCheckHook', 'DenseProbeHook',
    'DiskGuardHook', 'NonFiniteGuardHook', 'MomentumHook', 'PretrainMonitorHook',
    'ShardPositionHook', 'StopSignalsHook',
    'check_classes',
]
