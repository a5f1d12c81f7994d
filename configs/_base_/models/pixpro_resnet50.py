# PixPro with ResNet-50, as in the released 100-epoch script: no instance branch.
_base_ = './two_view_resnet50.py'

model = dict(
    type='PixPro',
    projector=dict(
        type='ConvMLP', hidden_channels=4096, out_channels=256,
        norm_cfg=_base_.norm_cfg),
    propagation=dict(
        type='PixelPropagation', transform_layers=1, power=2.0, clamp=0.0),
    loss=dict(type='PairConsistencyLoss', pos_ratio=0.7),
    instance_weight=0.0)
