"""Semantic FPN with a ResNet-18 on road scenes; runs on a CPU."""
_base_ = ['mmseg::_base_/models/fpn_r50.py', './_base_/camvid.py']

# Written by tools/convert/export_backbone.py. For random weights instead:
# --cfg-options model.backbone.init_cfg=None
pretrained = 'work_dirs/backbone.pth'

norm_cfg = dict(type='BN', requires_grad=True)
channels = 64
model = dict(
    # mmseg's own shortcut for a checkpoint; it would win over init_cfg.
    pretrained=None,
    data_preprocessor=dict(
        size=_base_.crop_size, seg_pad_val=_base_.ignore_index),
    backbone=dict(
        # The 7x7 stem of the pretrained networks, not the three convs of V1c.
        type='ResNet', depth=18, norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels),
    decode_head=dict(
        in_channels=[channels] * 4, channels=channels, norm_cfg=norm_cfg,
        num_classes=len(_base_.classes), ignore_index=_base_.ignore_index,
        loss_decode=dict(avg_non_ignore=True)))
