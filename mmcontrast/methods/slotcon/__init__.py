"""Pretrain by semantic grouping: SlotCon (NeurIPS 2022)."""
from .alignment import Aligner, Overlap, overlaps
from .grouping import SlotGrouping, Slots
from .losses import distillation, slot_contrast, update_center
from .slot_images_hook import SlotImagesHook
from .slot_probe_hook import SlotProbeHook
from .slotcon import SlotCon

__all__ = [
    'Aligner', 'Overlap', 'SlotCon', 'SlotGrouping', 'SlotImagesHook',
    'SlotProbeHook', 'Slots', 'distillation',
    'overlaps', 'slot_contrast', 'update_center',
]
