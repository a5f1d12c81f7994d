"""DITO with ViT-B/16 on OV-LVIS, from its own pretraining."""
_base_ = [
    '../_base_/models/dito_vit-b16.py', '../_base_/datasets/lvis_ov_lsj.py',
    '../_base_/dito_runtime.py']

# Backbone, pyramid and box head; the frozen copy starts as the backbone does.
pretrained = (
    'work_dirs/dito-pretrain-regions_vit-b16_32xb128-30k_image-text-256x256/'
    'iter_30000.pth')
model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    backbone=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    vlm=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    neck=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='neck.')),
    roi_head=dict(
        bbox_head=dict(init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='box_head.'))),
    text_encoder=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='text_encoder.')))
