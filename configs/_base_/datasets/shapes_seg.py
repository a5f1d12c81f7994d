"""Semantic segmentation of the toy world: eight shapes, sky and ground.

The scenes: python tools/data/make_shapes.py data/shapes --layout mmseg --test 200
"""
data_root = 'data/shapes/'
# mmcontrast.datasets.shapes.vocabulary
classes = ('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon',
           'sky', 'ground')
palette = [[230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200], [245, 130, 48],
           [145, 30, 180], [240, 50, 230], [128, 128, 0], [70, 200, 240],
           [150, 120, 90]]
metainfo = dict(classes=classes, palette=palette)

# Scenes of 128 pixels, twice as large: at stride 32 an object is 1 to 5 cells wide.
crop_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcontrast.LoadLabelMap'),
    dict(type='RandomResize', scale=crop_size, ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop_size),
    dict(type='mmcontrast.LoadLabelMap'),
    dict(type='PackSegInputs')]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=(side, side)) for side in (256, 320)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
        [dict(type='mmcontrast.LoadLabelMap')],
        [dict(type='PackSegInputs')]])]

train_dataloader = dict(
    batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo, test_mode=True,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo, test_mode=True,
        data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir/test'),
        pipeline=test_pipeline))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
