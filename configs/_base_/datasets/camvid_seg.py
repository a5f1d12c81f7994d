"""CamVid: road scenes in 11 classes and void, 367 training frames of 480 x 360."""
data_root = 'data/camvid/'
classes = ('Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence',
           'Car', 'Pedestrian', 'Bicyclist')
palette = [[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
           [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
           [0, 128, 192]]
metainfo = dict(classes=classes, palette=palette)
# Class texts: the same classes, named as a text tower knows them.
class_texts = [['sky'], ['building'], ['pole', 'column'], ['road'],
               ['pavement', 'sidewalk'], ['tree'], ['traffic sign', 'traffic light'],
               ['fence'], ['car'], ['pedestrian', 'person'], ['bicyclist', 'cyclist']]
# Void is written as the label after the last class (11), not as mmseg's usual 255:
# crop, padding, heads and metric need it as ignore_index.
ignore_index = len(classes)

scale, crop_size = (480, 360), (320, 320)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmcontrast.LoadLabelMap'),
    dict(type='RandomResize', scale=scale, ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75,
         ignore_index=ignore_index),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='mmcontrast.LoadLabelMap'),
    dict(type='PackSegInputs')]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=(int(480 * r), int(360 * r)), keep_ratio=True)
         for r in (0.75, 1.0, 1.25)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
        [dict(type='mmcontrast.LoadLabelMap')],
        [dict(type='PackSegInputs')]])]

train_dataloader = dict(
    batch_size=8, num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo,
        ignore_index=ignore_index,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo,
        ignore_index=ignore_index, test_mode=True,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root=data_root, metainfo=metainfo,
        ignore_index=ignore_index, test_mode=True,
        data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir/test'),
        pipeline=test_pipeline))
val_evaluator = dict(
    type='IoUMetric', iou_metrics=['mIoU'], ignore_index=ignore_index)
test_evaluator = val_evaluator
