"""Pretrain image and text towers from scratch: CLIP (ICML 2021)."""
from ...registry import MODELS
from .multiple_choice import MultipleChoiceAccuracy

# Built on open_clip, which is imported when a config names the model.
MODELS.announce('mmcontrast.methods.clip.clip', 'CLIP')

__all__ = ['MultipleChoiceAccuracy']
