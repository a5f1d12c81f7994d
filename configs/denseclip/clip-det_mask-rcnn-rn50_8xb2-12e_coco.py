"""Mask R-CNN on CLIP's RN50, without texts: the baseline of DenseCLIP."""
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py', '../_base_/clip_det_12e.py']

model = dict(
    data_preprocessor=dict(mean=_base_.clip_mean, std=_base_.clip_std),
    backbone=dict(
        _delete_=True, type='mmcontrast.CLIPResNet', tower='RN50',
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
