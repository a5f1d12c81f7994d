"""TopNet with two ResNets-50 of ImageNet, that of backgrounds without its last stage.

16 x 16 tokens of a background, a map of 256 x 256 places.
"""
resnet = dict(
    type='mmpretrain.ResNet', depth=50, init_cfg=dict(
        type='Pretrained', checkpoint='torchvision://resnet50'))
model = dict(
    type='TopNet',
    background_encoder=dict(
        resnet, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
        out_indices=(2,)),
    object_encoder=resnet,
    # Width and heads of the ViT-S/16; a ResNet's cells do not say where they are.
    fusion=dict(dim=384, layers=4, heads=8, with_positions=True,
                decoder_channels=(256, 128, 64, 32)),
    grid=dict(size=(256, 256), scales=16, binning='uniform'),
    loss=dict(type='SparseContrastiveLoss'),
    test_cfg=dict(k=5, window=3, keep_inside=True))
