"""PropVG with BEiT-3 base for images of 320 pixels and phrases of 50 tokens.

beit3_base_patch16_224.zip and beit3.spm are files of the BEiT-3 release.
"""
model = dict(
    type='PropVG',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    encoder=dict(
        type='BEiT3', image_size=320, drop_path=0.1, init_cfg=dict(
            type='BEiT3Pretrained',
            checkpoint='pretrained/beit3_base_patch16_224.zip')),
    tokenizer=dict(type='BEiT3Tokenizer', model_file='pretrained/beit3.spm',
                   max_tokens=50),
    head=dict(type='PropVGHead', with_existence=True, existence_top_k=250),
    test_cfg=dict(score_thr=0.7, mask_thr=0.5))
