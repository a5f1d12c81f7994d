"""Semantic FPN on CLIP's RN50, without texts: the baseline of DenseCLIP."""
_base_ = '../_base_/clip_seg_80k.py'

# Where the towers come from: ARCHITECTURE/TAG of open_clip, or a file.
pretrained = 'RN50/openai'
model = dict(
    backbone=dict(
        _delete_=True, type='mmcontrast.CLIPResNet', tower='RN50',
        init_cfg=dict(type='CLIPPretrained', checkpoint=pretrained)),
    decode_head=dict(num_classes=150))
