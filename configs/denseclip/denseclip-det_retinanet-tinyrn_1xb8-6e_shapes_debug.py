"""The toy world on a CPU: the code of the published settings in a minute or two.

The scenes: python tools/data/make_shapes.py data/shapes_coco --layout coco \
    --train 600 --val 100
"""
_base_ = './denseclip-det_retinanet-rn50_8xb2-12e_coco.py'

data_root = 'data/shapes_coco/'
classes = ('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon')
size, num_train, batch_size, max_epochs = 128, 600, 8, 6

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(size, size), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(size, size), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(
    batch_size=batch_size, num_workers=1,
    dataset=dict(
        data_root=data_root, ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'), metainfo=dict(classes=classes),
        indices=num_train, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root=data_root, ann_file='annotations/instances_val.json',
        data_prefix=dict(img='images/val/'), metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

# Narrow heads: mmdet's 256 channels cost several times the tower.
channels, strides = 64, [8, 16, 32]
model = dict(
    class_names=classes,
    backbone=dict(
        tower=None, layers=(1, 1, 1, 1), width=16, embed_dims=128, input_size=64,
        pos_mode='resize', init_cfg=None),
    text_encoder=dict(
        tower=None, embed_dims=128, width=64, heads=4, layers=2, vocab_size=49408,
        init_cfg=None),
    context_decoder=dict(width=64, heads=4, layers=1),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels,
              num_outs=len(strides)),
    bbox_head=dict(
        in_channels=channels, feat_channels=channels, stacked_convs=2,
        # Objects are 20 to 70 pixels wide.
        anchor_generator=dict(octave_base_scale=3, strides=strides)))

train_cfg = dict(max_epochs=max_epochs)
steps = num_train // batch_size
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_epochs * steps,
         T_max=max_epochs * steps)]
default_hooks = dict(logger=dict(interval=25))
