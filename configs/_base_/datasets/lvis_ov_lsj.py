"""LVIS v1 without the boxes of rare classes, tested with all classes.

python tools/data/make_ov_split.py data/lvis_v1/annotations/lvis_v1_train.json \
    --benchmark lvis
"""
data_root = 'data/lvis_v1/'
base_classes = data_root + 'annotations/lvis_v1_train_base_classes.txt'
all_classes = data_root + 'annotations/lvis_v1_train_all_classes.txt'
val_file = data_root + 'annotations/lvis_v1_val.json'
image_size, batch_size = 1024, 8

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmcontrast.LargeScaleJitter', size=image_size),
    dict(type='mmdet.PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcontrast.LargeScaleJitter', size=image_size, ratio_range=None),
    dict(type='mmdet.PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(
    batch_size=batch_size, num_workers=8, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmcontrast.OpenVocabularyDataset',
        ann_file=data_root + 'annotations/lvis_v1_train_norare.json',
        data_prefix=dict(img='data/coco/'),
        metainfo=dict(classes=base_classes),
        filter_cfg=dict(filter_empty_gt=True), pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=4, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.LVISV1Dataset', ann_file=val_file,
        data_prefix=dict(img='data/coco/'), test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmcontrast.OVLVISMetric', ann_file=val_file, metric=['bbox', 'segm'])
test_evaluator = val_evaluator
