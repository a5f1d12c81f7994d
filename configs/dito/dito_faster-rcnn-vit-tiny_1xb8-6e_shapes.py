"""The toy world: boxes of 56 pairs of color and shape, tested with 8 others, too.

The text tower is that of the small CLIP of docs/toy_clip.md, the ViT that of the
pretraining beside this file.
"""
_base_ = [
    '../_base_/models/dito_vit-tiny.py', '../_base_/datasets/shapes_ov_det.py',
    '../_base_/dito_shapes_runtime.py']

# Backbone, pyramid and box head; the frozen copy starts as the backbone does.
pretrained = 'work_dirs/dito_regions/epoch_3.pth'
toy_clip = 'work_dirs/toy_clip/toy_clip.safetensors'
model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    backbone=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    vlm=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    neck=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='neck.')),
    roi_head=dict(bbox_head=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='box_head.'))),
    text_encoder=dict(init_cfg=dict(type='CLIPPretrained', checkpoint=toy_clip)))
