"""FCN, ResNet-18, few labeled scenes of the toy world: what ``make demo`` runs.

The scenes: python tools/data/make_shapes.py data/shapes --layout mmseg --test 500
"""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-160x160.py'

data_root = 'data/shapes/'
# mmcontrast.datasets.shapes.layouts.THINGS_CLASSES; no pixel is void.
classes = ('object', 'sky', 'ground')
metainfo = dict(
    _delete_=True, classes=classes,
    palette=[[230, 25, 75], [70, 200, 240], [150, 120, 90]])
ignore_index = 255
num_labeled = 5

crop_size = (128, 128)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=crop_size, ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]

common = dict(data_root=data_root, metainfo=metainfo, ignore_index=ignore_index)
train_dataloader = dict(dataset=dict(
    **common, indices=num_labeled, pipeline=train_pipeline,
    data_prefix=dict(seg_map_path='ann_dir_things/train')))
val_dataloader = dict(dataset=dict(
    **common, pipeline=test_pipeline,
    data_prefix=dict(seg_map_path='ann_dir_things/val')))
test_dataloader = dict(dataset=dict(
    **common, pipeline=test_pipeline,
    data_prefix=dict(img_path='img_dir/test', seg_map_path='ann_dir_things/test')))
val_evaluator = dict(ignore_index=ignore_index)
test_evaluator = dict(ignore_index=ignore_index)

model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=ignore_index),
    decode_head=dict(num_classes=len(classes), ignore_index=ignore_index))

max_iters = 60
# Few steps on few labels: what the network knew before shows.
optim_wrapper = dict(optimizer=dict(
    _delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=10),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=10,
         end=max_iters)]
default_hooks = dict(
    logger=dict(interval=5), checkpoint=dict(interval=max_iters))
