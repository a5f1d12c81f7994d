"""Semantic FPN on ADE20K, in mmseg's setting.

No table of PixPro or SlotCon has this row; it is the lightest ADE20K model that uses
all four stages, and the usual check of dense pretraining.
"""
_base_ = 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py'

# Written by tools/convert/export_backbone.py.
pretrained = 'work_dirs/backbone.pth'

model = dict(
    # mmseg's own shortcut for a checkpoint; it would win over init_cfg.
    pretrained=None,
    # The 7x7 stem of the pretrained networks, not the three convs of V1c.
    backbone=dict(
        type='ResNet', init_cfg=dict(type='Pretrained', checkpoint=pretrained)))
