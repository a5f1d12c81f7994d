# PixPro for a CPU and few images: ResNet-18 whose last stage keeps the stride of 16,
# so that small views give maps with pixels to match, and a narrow projector. The norm
# behind the projector and a second layer in the propagation differ from the paper: with
# a few hundred steps its own settings stay in the phase where all features are alike.
_base_ = './pixpro_resnet50.py'

norm_cfg = dict(type='BN')
model = dict(
    backbone=dict(depth=18, norm_cfg=norm_cfg, strides=(1, 2, 2, 1)),
    projector=dict(
        hidden_channels=1024, norm_cfg=norm_cfg,
        out_norm_cfg=dict(type='BN', affine=False)),
    propagation=dict(transform_layers=2))
