"""Evaluate dense features by metrics, probes and clustering."""
from . import grounding
from .cluster_scores import (
    ClusterCounts,
    foreground_ari,
    majority_scores,
    matched_scores,
)
from .dense_probe import dense_probe
from .features import feature_maps
from .grouped_ap import GroupedCocoMetric
from .grouped_iou import GroupedIoUMetric

__all__ = [
    'GroupedCocoMetric', 'GroupedIoUMetric', 'ClusterCounts', 'dense_probe',
    'feature_maps', 'foreground_ari', 'grounding', 'majority_scores',
    'matched_scores',
]
