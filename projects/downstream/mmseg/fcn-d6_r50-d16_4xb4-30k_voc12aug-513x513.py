"""FCN with dilation 6 on VOC 2012 + aug: the protocol of SlotCon (after MoCo's).

The released SlotCon setting feeds 0-255 images with mean (.485, .456, .406) and std
(.229, .224, .225), without dividing by 255 first. Here images are normalized as in
pretraining; README.md has the line that restores the released one.
"""
_base_ = [
    'mmseg::_base_/models/fcn_r50-d8.py', 'mmseg::_base_/datasets/pascal_voc12_aug.py',
    'mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_20k.py']

# Written by tools/convert/export_backbone.py.
pretrained = 'work_dirs/backbone.pth'

crop_size = (513, 513)
model = dict(
    # mmseg's own shortcut for a checkpoint; it would win over init_cfg.
    pretrained=None,
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        # The 7x7 stem of the pretrained networks, not the three convs of V1c.
        type='ResNet', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(
        channels=256, dilation=6, concat_input=False, dropout_ratio=0,
        align_corners=True, num_classes=21),
    auxiliary_head=None)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2049, 513), ratio_range=(0.5, 2.0),
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2049, 513), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
# train_aug is the 1,464 images of train and the 9,118 of aug.
train_dataloader = dict(
    batch_size=4,
    dataset=dict(datasets=[
        dict(_base_.dataset_train, pipeline=train_pipeline),
        dict(_base_.dataset_aug, pipeline=train_pipeline)]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 30_000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
optimizer = dict(type='SGD', lr=0.003, momentum=0.9, weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=max_iters,
         milestones=[21_000, 27_000], gamma=0.1)]
default_hooks = dict(checkpoint=dict(interval=max_iters // 10))
