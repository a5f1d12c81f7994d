"""DITO on ViT-L/16, from the released pretraining.

python tools/convert/official.py dito pretrained_dito_large.msgpack \
    pretrained_dito_large.pth --drop box_head.temperature
"""
_base_ = './dito_vit-l16.py'

# Backbone, pyramid and box head; the frozen copy starts as the backbone does.
pretrained = 'pretrained_dito_large.pth'
model = dict(
    backbone=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    vlm=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    neck=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='neck.')),
    roi_head=dict(bbox_head=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='box_head.'))))
