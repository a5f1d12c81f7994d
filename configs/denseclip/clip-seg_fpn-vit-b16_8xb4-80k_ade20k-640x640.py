"""Semantic FPN on CLIP's ViT-B/16, without texts: the baseline of DenseCLIP."""
_base_ = '../_base_/clip_seg_80k.py'

side = 640
crop_size, scale = (side, side), (2048, side)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_scales = [(int(2048 * r), int(side * r)) for r in _base_.img_ratios]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
        [dict(type='LoadAnnotations', reduce_zero_label=True)],
        [dict(type='PackSegInputs')]])]

pretrained = 'ViT-B-16/openai'
width = 768
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True, type='mmcontrast.CLIPVisionTransformer', tower='ViT-B-16',
        input_size=side, drop_path=0.1,
        init_cfg=dict(type='CLIPPretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[width] * 4),
    decode_head=dict(num_classes=150),
    test_cfg=dict(crop_size=crop_size, stride=(426, 426)))
