"""Faster R-CNN C4 on VOC: trainval 2007 + 2012, tested on 2007.

The transfer protocol of MoCo and PixPro (column "VOC C4" of its table), with one
more BN after res5 in the head. The head owns the fourth stage, so it reads the
exported backbone as well.
"""
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50-caffe-c4.py',
    'mmdet::_base_/datasets/voc0712.py', './_base_/transfer_90k.py']

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
            init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
        bbox_head=dict(num_classes=20)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', keep_ratio=True,
         scales=[(1333, short) for short in range(480, 801, 32)]),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]

# ConcatDataset compares the metainfo of both years; only dataset_type differs.
train_dataloader = dict(
    batch_size=2,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(
        _delete_=True, type='ConcatDataset', ignore_keys=['dataset_type'],
        datasets=[
            dict(type='VOCDataset', data_root='data/VOCdevkit/',
                 ann_file=f'VOC{year}/ImageSets/Main/trainval.txt',
                 data_prefix=dict(sub_data_root=f'VOC{year}/'),
                 filter_cfg=dict(filter_empty_gt=True, min_size=32),
                 pipeline=train_pipeline)
            for year in (2007, 2012)]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# AP is the mean over IoU .50:.05:.95 of the 11-point AP of VOC 2007; mmdet logs it
# as mAP, beside AP50 and AP75.
val_evaluator = dict(iou_thrs=[iou / 100 for iou in range(50, 100, 5)])
test_evaluator = val_evaluator

max_iters = 24_000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=max_iters,
         milestones=[18_000, 22_000], gamma=0.1)]
default_hooks = dict(checkpoint=dict(interval=max_iters // 4))
