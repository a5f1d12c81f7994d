# Pretrain the feature pyramid with the backbone (paper): the loss is taken on
# every level and averaged.
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

norm_cfg = dict(type='SyncBN')
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    # P3 to P6: 28, 14, 7 and 4 cells a side.
    neck=dict(
        type='mmdet.FPN', out_channels=256, start_level=1, num_outs=4,
        norm_cfg=norm_cfg))
