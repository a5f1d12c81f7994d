"""A small TopNet for backgrounds of 128 pixels, for a CPU: a map of 64 x 64 places.

Two ResNets-18 with a quarter of the channels, of which three stages are used: 8 x 8
tokens of a background.
"""
resnet = dict(
    type='mmpretrain.ResNet', depth=18, stem_channels=16, base_channels=16,
    num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
model = dict(
    type='TopNet', background_encoder=resnet, object_encoder=resnet,
    image_size=(128, 64),
    fusion=dict(dim=128, layers=2, heads=4, with_positions=True,
                decoder_channels=(64, 48, 32)),
    grid=dict(size=(64, 64), scales=16),
    test_cfg=dict(k=5, window=3, keep_inside=True))
