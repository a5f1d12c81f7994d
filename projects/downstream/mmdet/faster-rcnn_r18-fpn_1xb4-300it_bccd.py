"""Faster R-CNN FPN with a ResNet-18 on blood cells; runs on a CPU."""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './_base_/bccd.py']

# Written by tools/convert/export_backbone.py. For random weights instead:
# --cfg-options model.backbone.init_cfg=None
pretrained = 'work_dirs/backbone.pth'

# Narrow heads, few proposals, one sample a RoI cell: with mmdet's 256 channels, 512
# proposals and adaptive sampling the heads cost several times the backbone on a CPU,
# most of it in the backward pass of RoIAlign.
channels = 64
model = dict(
    backbone=dict(
        depth=18, frozen_stages=-1, norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels),
    rpn_head=dict(
        in_channels=channels, feat_channels=channels,
        # Cells and platelets are close to square: one shape saves two thirds.
        anchor_generator=dict(ratios=[1.0])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=channels, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(
            in_channels=channels, fc_out_channels=256,
            num_classes=len(_base_.classes))),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)))
