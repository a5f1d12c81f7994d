"""CLIP (ICML 2021): contrastive language-image pretraining, from scratch."""
from ...registry import MODELS
from .multiple_choice import MultipleChoiceAccuracy

# Built on open_clip, which is imported when a config names the model.
MODELS.announce('mmcontrast.methods.clip.clip', 'CLIP')

__all__ = ['MultipleChoiceAccuracy']
