"""FCN on ADE20K: the protocol of SlotCon, which is mmseg's own with another stem.

SGD 0.01, weight decay 5e-4, poly 0.9 down to 1e-4, an auxiliary head at 0.4, crops of
512 from (2048, 512) x 0.5-2 with photometric distortion: all from the base.
"""
_base_ = 'mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'

# Written by tools/convert/export_backbone.py.
pretrained = 'work_dirs/backbone.pth'

model = dict(
    # mmseg's own shortcut for a checkpoint; it would win over init_cfg.
    pretrained=None,
    # The 7x7 stem of the pretrained networks, not the three convs of V1c.
    backbone=dict(
        type='ResNet', init_cfg=dict(type='Pretrained', checkpoint=pretrained)))
