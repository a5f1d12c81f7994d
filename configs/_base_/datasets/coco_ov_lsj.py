"""OV-COCO: boxes of 48 base classes, tested with 17 novel ones beside them.

python tools/data/make_ov_split.py data/coco/annotations/instances_train2017.json \
    --val data/coco/annotations/instances_val2017.json --benchmark coco
"""
_base_ = './lvis_ov_lsj.py'

data_root = 'data/coco/'
base_classes = data_root + 'zero-shot/instances_train2017_base_classes.txt'
all_classes = data_root + 'zero-shot/instances_train2017_all_classes.txt'
val_file = data_root + 'zero-shot/instances_val2017_all_2.json'
image_size, batch_size = 1024, 8

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmcontrast.LargeScaleJitter', size=image_size),
    dict(type='mmdet.PackDetInputs')]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        _delete_=True, type='mmcontrast.OVCocoDataset', base_only=True,
        ann_file=data_root + 'zero-shot/instances_train2017_seen_2_65_cat.json',
        data_prefix=dict(img=data_root + 'train2017/'),
        filter_cfg=dict(filter_empty_gt=True), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='mmcontrast.OVCocoDataset', ann_file=val_file,
    data_prefix=dict(img=data_root + 'val2017/'), test_mode=True,
    pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='mmcontrast.GroupedCocoMetric', ann_file=val_file)
test_evaluator = val_evaluator
