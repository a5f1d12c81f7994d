"""DITO with ViT-B/16 on OV-COCO, 48 base and 17 novel classes."""
_base_ = [
    '../_base_/models/dito_vit-b16.py', '../_base_/datasets/coco_ov_lsj.py',
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
            type='Pretrained', checkpoint=pretrained, prefix='box_head.')),
        mask_head=None),
    text_encoder=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='text_encoder.')),
    # COCO counts 100 detections of an image.
    test_cfg=dict(rcnn=dict(max_per_img=100)))

# The recipe of RO-ViT, which DITO follows: a quarter of the steps, batch 128.
max_iters, val_interval = 11300, 2000
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0032 / 0.02, by_epoch=False, end=1001),
    dict(type='MultiStepLR', by_epoch=False, gamma=0.1,
         milestones=[max_iters * percent // 100 for percent in (80, 90, 95)])]
default_hooks = dict(checkpoint=dict(interval=val_interval))
