"""From images and class texts to answers, in three lines."""
from .denseclip import DenseCLIPInferencer
from .results import Detection, Segmentation

__all__ = ['DenseCLIPInferencer', 'Detection', 'Segmentation']
