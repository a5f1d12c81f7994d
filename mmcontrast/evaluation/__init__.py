"""Dense probes and metrics."""
from .dense_probe import dense_probe
from .features import feature_maps
from .grouped_iou import GroupedIoUMetric
from .labelled_images import LabelledImages, load_labelled_images
from .multiple_choice import MultipleChoiceAccuracy
from .slot_maps import assign_slots, slot_scores
from .slot_segmentation import (
    SlotClassCounts,
    foreground_ari,
    majority_scores,
    matched_scores,
)

__all__ = [
    'GroupedIoUMetric', 'LabelledImages', 'MultipleChoiceAccuracy', 'SlotClassCounts',
    'assign_slots', 'dense_probe', 'feature_maps', 'foreground_ari',
    'load_labelled_images', 'majority_scores', 'matched_scores', 'slot_scores',
]
