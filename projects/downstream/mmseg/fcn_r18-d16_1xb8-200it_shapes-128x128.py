"""FCN, ResNet-18, few labelled scenes of the toy world: what ``make demo`` runs.

The scenes come from: python tools/data/make_shapes.py data/shapes --layout mmseg
"""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-160x160.py'

data_root = 'data/shapes/'
# The order of mmcontrast.datasets.shapes.CLASSES; no pixel is void.
classes = ('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon',
           'sky', 'ground')
metainfo = dict(
    _delete_=True, classes=classes,
    palette=[[230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200],
             [245, 130, 48], [145, 30, 180], [240, 50, 230], [128, 128, 0],
             [70, 200, 240], [150, 120, 90]])
ignore_index = 255
num_labelled = 50

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
    **common, indices=num_labelled, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**common, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(
    **common, pipeline=test_pipeline,
    data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val')))
val_evaluator = dict(ignore_index=ignore_index)
test_evaluator = dict(ignore_index=ignore_index)

model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=ignore_index),
    decode_head=dict(num_classes=len(classes), ignore_index=ignore_index))

max_iters = 200
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=20,
         end=max_iters)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
