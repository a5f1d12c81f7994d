"""Run trained models on images from Python, in three lines."""
from .base import Inferencer
from .denseclip import DenseCLIPInferencer
from .detector import DetectorInferencer
from .grounding import GroundingInferencer
from .grounding_results import GroundedImage
from .images import InputImage
from .model_inferencer import ModelInferencer, open_inferencer
from .open_vocabulary import OpenVocabularyInferencer
from .placement import PlacementInferencer
from .placement_results import ObjectPlaces, PlacedObjects
from .results import Detection, Segmentation
from .segmentor import SegmentorInferencer

__all__ = ['DenseCLIPInferencer', 'Detection', 'DetectorInferencer', 'GroundedImage',
           'GroundingInferencer', 'Inferencer', 'InputImage', 'ModelInferencer',
           'ObjectPlaces', 'OpenVocabularyInferencer', 'PlacedObjects',
           'PlacementInferencer', 'Segmentation', 'SegmentorInferencer',
           'open_inferencer']
