"""Ground phrases that mean one object, several or none: PropVG (ICCV 2025).

Source: Dai et al., "PropVG: End-to-End Proposal-Driven Visual Grounding with
Multi-Granularity Discrimination", arXiv 2509.04833.
"""
from ...registry import HOOKS, MODELS, WEIGHT_INITIALIZERS

MODELS.announce('mmcontrast.methods.propvg.beit3', 'BEiT3')
MODELS.announce('mmcontrast.methods.propvg.tokenizer', 'BEiT3Tokenizer')
WEIGHT_INITIALIZERS.announce('mmcontrast.methods.propvg.beit3_weights',
                             'BEiT3Pretrained')
MODELS.announce('mmcontrast.methods.propvg.head', 'PropVGHead')
MODELS.announce('mmcontrast.methods.propvg.patch_head', 'PhrasePatchHead')
MODELS.announce('mmcontrast.methods.propvg.propvg', 'PropVG')
HOOKS.announce('mmcontrast.methods.propvg.phrase_images_hook', 'PhraseImagesHook')
