"""Guide segmentors and detectors by class texts: DenseCLIP (CVPR 2022).

The models are subclasses of mmseg's and mmdet's, which are imported when a config names
one of them.
"""
from ...registry import MODELS
from .context_decoder import ContextDecoder
from .prompting import Matched, PixelTextPrompting, score_map

MODELS.announce('mmcontrast.methods.denseclip.segmentor', 'DenseCLIP')
MODELS.announce('mmcontrast.methods.denseclip.head_loss', 'IdentityHead')
MODELS.announce('mmcontrast.methods.denseclip.detectors', 'DenseCLIPSingleStage',
                'DenseCLIPTwoStage')

__all__ = ['ContextDecoder', 'Matched', 'PixelTextPrompting', 'score_map']
