"""Boxes of the toy world, classes are pairs of color and shape; 8 of 64 are novel.

python tools/data/make_shapes.py data/shapes_ov --layout combinations \
    --train-combinations seen --train 600 --val 600 --test 1000
"""
data_root = 'data/shapes_ov/'
base_classes = data_root + 'base_classes.txt'
novel_classes = data_root + 'novel_classes.txt'
all_classes = data_root + 'combination_classes.txt'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # Scenes have the size of the network's input; sets the scale factor.
    dict(type='mmdet.Resize', scale=(128, 128), keep_ratio=True),
    dict(type='mmdet.PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(
    batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmcontrast.OpenVocabularyDataset', data_root=data_root,
        ann_file='annotations/combinations_train.json',
        data_prefix=dict(img='images/train/'), metainfo=dict(classes=base_classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmcontrast.OpenVocabularyDataset', data_root=data_root,
        ann_file='annotations/combinations_val.json',
        data_prefix=dict(img='images/val/'),
        metainfo=dict(classes=all_classes, base_classes=base_classes,
                      novel_classes=novel_classes),
        test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1, num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmcontrast.OpenVocabularyDataset', data_root=data_root,
        ann_file='annotations/combinations_test.json',
        data_prefix=dict(img='images/test/'),
        metainfo=dict(classes=all_classes, base_classes=base_classes,
                      novel_classes=novel_classes),
        test_mode=True, pipeline=test_pipeline))
val_evaluator = dict(
    type='mmcontrast.GroupedCocoMetric',
    ann_file=data_root + 'annotations/combinations_val.json')
test_evaluator = dict(
    type='mmcontrast.GroupedCocoMetric',
    ann_file=data_root + 'annotations/combinations_test.json')
