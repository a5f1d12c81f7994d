# PixPro small enough for a CPU: ResNet-18 whose last stage keeps the stride of 16, so
# that small views still give maps with pixels to match, and a narrow projector.
_base_ = './pixpro_resnet50.py'

norm_cfg = dict(type='BN')
model = dict(
    backbone=dict(depth=18, norm_cfg=norm_cfg, strides=(1, 2, 2, 1)),
    projector=dict(hidden_channels=1024, norm_cfg=norm_cfg))
