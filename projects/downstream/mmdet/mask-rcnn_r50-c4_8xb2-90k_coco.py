"""Mask R-CNN C4 on COCO, with one more BN after res5 in the head.

The transfer protocol of MoCo and PixPro (column "COCO C4" of its table). The head
owns the fourth stage, so it reads the exported backbone as well.
"""
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50-caffe-c4.py',
    './_base_/coco_instance_640-800.py', './_base_/transfer_90k.py']

# ResLayerExtraNorm: the fourth stage and the additional BN, for mmdet.
custom_imports = dict(
    imports=['mmpretrain.models.utils.res_layer_extra_norm'],
    allow_failed_imports=False)

# Written by tools/convert/export_backbone.py. On the command line replace both
# model.backbone.init_cfg.checkpoint and model.roi_head.shared_head.init_cfg.checkpoint.
pretrained = 'work_dirs/backbone.pth'

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    # The base expects Caffe's BGR images; pretraining saw normalized RGB.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        style='pytorch', frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    roi_head=dict(
        shared_head=dict(
            type='ResLayerExtraNorm', style='pytorch', norm_cfg=norm_cfg,
            norm_eval=False,
            init_cfg=dict(type='Pretrained', checkpoint=pretrained))))
