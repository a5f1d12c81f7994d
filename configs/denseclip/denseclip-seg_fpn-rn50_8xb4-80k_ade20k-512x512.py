"""Semantic FPN guided by ADE20K's class names, on both towers of CLIP's RN50."""
_base_ = './clip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'

model = dict(
    type='mmcontrast.DenseCLIP',
    # Class counts of neck and heads follow from the list.
    class_names='ade',
    backbone=dict(
        type='mmcontrast.CLIPResNetWithAttention', input_size=_base_.crop_size[0]),
    text_encoder=dict(
        type='CLIPTextEncoder', tower='RN50',
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder'))
