"""TopNet with two ViT-S/16 of ImageNet: 16 x 16 tokens, a map of 256 x 256 places."""
vit = dict(
    type='mmpretrain.VisionTransformer', arch='deit-small', init_cfg=dict(
        type='Pretrained', prefix='backbone.',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
        'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth'))
model = dict(
    type='TopNet',
    background_encoder=dict(vit, img_size=256, out_type='featmap'),
    object_encoder=dict(vit, img_size=224),
    fusion=dict(layers=4, heads=8, decoder_channels=(256, 128, 64, 32)),
    grid=dict(size=(256, 256), scales=16, binning='uniform'),
    loss=dict(type='SparseContrastiveLoss'),
    test_cfg=dict(k=5, window=3, keep_inside=True))
