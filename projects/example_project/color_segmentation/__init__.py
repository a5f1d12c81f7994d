"""Segment images by a learned color and height per class: an example of a method."""
from .hook import ClassColorsHook
from .inferencer import ColorSegmentorInferencer
from .metric import PixelAccuracy
from .model import ColorSegmentor, PackLabels

__all__ = ['ClassColorsHook', 'ColorSegmentor', 'ColorSegmentorInferencer',
           'PackLabels', 'PixelAccuracy']
