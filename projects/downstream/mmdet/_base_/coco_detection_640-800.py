"""COCO 2017 boxes, short side 640..800 in training, 800 in testing."""
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', keep_ratio=True,
         scales=[(1333, short) for short in range(640, 801, 32)]),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]

train_dataloader = dict(
    batch_size=2,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
