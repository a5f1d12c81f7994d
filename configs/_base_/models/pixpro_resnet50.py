# PixPro with ResNet-50, as in the released 100-epoch script: no instance branch.
norm_cfg = dict(type='SyncBN')
model = dict(
    type='PixPro',
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        norm_cfg=norm_cfg,
        norm_eval=False,
        zero_init_residual=True),
    projector=dict(
        type='ConvMLP', hidden_channels=4096, out_channels=256, norm_cfg=norm_cfg),
    propagation=dict(
        type='PixelPropagation', transform_layers=1, power=2.0, clamp=0.0),
    loss=dict(type='PairConsistencyLoss', pos_ratio=0.7),
    instance_weight=0.0,
    data_preprocessor=dict(
        type='TwoViewPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)))
