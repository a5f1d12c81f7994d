"""A small PropVG for images of 128 pixels and random weights, for a CPU.

The forms of the paper, where the released weights need others: the sentence is the
maximum over its own words, pixel tokens are pixels, and all decoder layers are weighted
alike.
"""
_base_ = './propvg_beit3-base.py'

model = dict(
    # Narrow, at a high rate: wider ones need many more steps to learn what words mean.
    # A stem with group norms or fewer channels takes much longer to see textures.
    encoder=dict(
        _delete_=True, type='BEiT3', image_size=128, patch_size=16, embed_dims=64,
        depth=4, num_heads=4, feedforward=256, vocab_size=221, drop_path=0.0,
        max_text_positions=22, conv_stem=True, stem_norm='batch',
        stem_channels=16,
        # Tables of positions as BEiT-3 draws them, with a std of 1, would drown words
        # and patches until they have learned to be small.
        init_cfg=[
            dict(type='Xavier', layer='Linear', distribution='uniform'),
            dict(type='Normal', layer='Embedding', std=0.1,
                 override=dict(type='Normal', name='text_embed', std=0.3))]),
    # Every word of a phrase of the toy world is a token, of at most nine.
    tokenizer=dict(model_file='shapes', max_tokens=20),
    head=dict(channels=32, num_layers=2, num_heads=4, dropout=0.0, refer_weight=2.0,
              existence_top_k=10,
              sentence_pooling='masked_max', word_pooling='masked',
              pixel_token_layout='channels_last', aux_weighting='all'))
