"""A small Faster R-CNN with 20 labeled scenes of the toy world, nothing pasted.

The folder of the 20 scenes, for another draw of them:
--cfg-options train_dataloader.dataset.data_root=...
"""
_base_ = '../../downstream/mmdet/faster-rcnn_r18-fpn_1xb4-300it_bccd.py'

labeled, evaluated = 'data/shapes_paste/seed0/', 'data/shapes_paste/evaluation/'
classes = (
    'circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon')
metainfo = dict(classes=classes, palette=None)
# Scenes have 128 pixels, and most objects 10 to 40: anchors from 16 pixels on.
model = dict(
    backbone=dict(init_cfg=None), rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(bbox_head=dict(num_classes=8)))

# Masks tell what is hidden below pasted objects; the detector learns boxes.
load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
augment = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),  # as it is
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]

train_dataloader = dict(dataset=dict(
    data_root=labeled, metainfo=metainfo, ann_file='annotations/instances_train.json',
    data_prefix=dict(img='images/train/'), pipeline=[*load, *augment]))
test_dataloader = dict(dataset=dict(
    data_root=evaluated, metainfo=metainfo, ann_file='annotations/instances_test.json',
    data_prefix=dict(img='images/test/'), pipeline=test_pipeline))
test_evaluator = dict(ann_file=evaluated + 'annotations/instances_test.json')

# Settings are not chosen by scores: there is no validation.
val_dataloader = val_evaluator = val_cfg = None
max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters,
         T_max=max_iters - 50, eta_min=0)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
