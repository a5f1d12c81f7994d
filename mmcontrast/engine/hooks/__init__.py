"""Hooks of mmengine's Runner."""
from .bad_images import BadImagesHook
from .checkpoint_keys import CheckpointKeysHook
from .class_check import ClassCheckHook, check_classes
from .dense_probe_hook import DenseProbeHook
from .disk_guard import DiskGuardHook
from .finite_guard import FiniteGuardHook
from .momentum import MomentumHook
from .pretrain_monitor import PretrainMonitorHook
from .shard_position import ShardPositionHook
from .slot_pictures import SlotPicturesHook
from .slot_probe import SlotProbeHook
from .stop_signals import StopSignalsHook

__all__ = [
    'BadImagesHook', 'CheckpointKeysHook', 'ClassCheckHook', 'DenseProbeHook',
    'DiskGuardHook', 'FiniteGuardHook', 'MomentumHook', 'PretrainMonitorHook',
    'ShardPositionHook', 'SlotPicturesHook', 'SlotProbeHook', 'StopSignalsHook',
    'check_classes',
]
