# A method of mmpretrain under the protocol of our own: images, views, colors, steps,
# optimizer and probe are those of camvid_pretraining.py, the network is theirs at the
# same size.
_base_ = './camvid_pretraining.py'

default_hooks = dict(
    momentum=None,      # they move their momentum encoders themselves
    monitor=None)       # and log no feature std

custom_imports = dict(imports=['mmpretrain.models'])
model = dict(
    # The same start as ours. With mmpretrain's zero_init_residual=False the linear
    # probe of MoCo v2 fell from 28.5 (random weights) to 19.9 mIoU in 220 steps.
    backbone=dict(
        type='mmpretrain.ResNet', depth=18, norm_cfg=dict(type='BN'),
        strides=(1, 2, 2, 1), zero_init_residual=True),
    data_preprocessor=dict(type='mmcontrast.TwoViewPreprocessor', photometric='BYOL'))
