"""gRefCOCO with the forms of the paper where the released code differs from it.

For training from BEiT-3: released weights of PropVG need the other forms.
"""
_base_ = './propvg_beit3-base_4xb16-12e_grefcoco-320x320.py'

model = dict(head=dict(
    # The sentence is the maximum over its own words, not of the last two positions.
    sentence_pooling='masked_max', word_pooling='masked',
    # A token of the semantic layer is a pixel, not 256 pixels of a channel.
    pixel_token_layout='channels_last',
    # The weights of class, box and overlap hold for every decoder layer.
    aux_weighting='all'))
