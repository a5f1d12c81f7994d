"""Run trained models on images from Python, in three lines."""
from .base import Inferencer, open_inferencer
from .denseclip import DenseCLIPInferencer
from .detector import DetectorInferencer
from .images import InputImage
from .open_vocabulary import OpenVocabularyInferencer
from .results import Detection, Segmentation
from .segmentor import SegmentorInferencer

__all__ = ['DenseCLIPInferencer', 'Detection', 'DetectorInferencer', 'Inferencer',
           'InputImage', 'OpenVocabularyInferencer', 'Segmentation',
           'SegmentorInferencer', 'open_inferencer']
