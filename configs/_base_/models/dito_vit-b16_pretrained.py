"""DITO on ViT-B/16, from its own pretraining."""
_base_ = './dito_vit-b16.py'

# Backbone, pyramid and box head; the frozen copy starts as the backbone does.
pretrained = (
    'work_dirs/dito-pretrain-regions_vit-b16_32xb128-30k_image-text-256x256/'
    'iter_30000.pth')
model = dict(
    backbone=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    vlm=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    neck=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='neck.')),
    roi_head=dict(bbox_head=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='box_head.'))),
    text_encoder=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='text_encoder.')))
