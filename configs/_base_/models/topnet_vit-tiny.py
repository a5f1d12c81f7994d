"""A small TopNet for backgrounds of 128 pixels, for a CPU: a map of 64 x 64 places."""
vit = dict(
    type='PlainViT', layers=4, width=128, heads=4, patch_size=16, conv_stem=True)
model = dict(
    type='TopNet',
    background_encoder=dict(vit, pos_grid=8), object_encoder=dict(vit, pos_grid=4),
    image_size=(128, 64),
    fusion=dict(layers=2, heads=4, decoder_channels=(128, 64, 32)),
    grid=dict(size=(64, 64), scales=16),
    test_cfg=dict(k=5, window=3, keep_inside=True))
