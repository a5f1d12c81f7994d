"""Evaluate frozen backbones by the protocols that papers report."""
from .backbones import BackboneChoice, open_backbone
from .images import evaluate_images
from .masks import evaluate_clusters, evaluate_masks
from .results import result_table
from .videos import evaluate_videos

__all__ = ['BackboneChoice', 'evaluate_clusters', 'evaluate_images', 'evaluate_masks',
           'evaluate_videos', 'open_backbone', 'result_table']
