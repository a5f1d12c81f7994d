# ResNet-50 and what prepares its two views, for PixPro and SlotCon alike.
norm_cfg = dict(type='SyncBN')
model = dict(
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        norm_cfg=norm_cfg,
        norm_eval=False,
        zero_init_residual=True),
    data_preprocessor=dict(
        type='TwoViewPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        # The recipe of PixPro and SlotCon; colors that the pipeline changed already
        # (TwoViews) are left alone.
        photometric='BYOL'))
