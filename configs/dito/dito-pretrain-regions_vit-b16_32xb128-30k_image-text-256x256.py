"""Stage B: pyramid and box head on random regions, the towers of stage A frozen."""
_base_ = './dito-pretrain-images_vit-b16_32xb128-500k_image-text-224x224.py'

image_size, max_iters, warmup_iters = 256, 30000, 1000
load_from = (
    'work_dirs/dito-pretrain-images_vit-b16_32xb128-500k_image-text-224x224/'
    'iter_500000.pth')
model = dict(
    backbone=dict(frozen=True),
    text_encoder=dict(frozen=True),
    positions=None,
    neck=dict(type='SimpleFeaturePyramid', in_channels=768),
    box_head=dict(type='TextBoxHead', embed_dims=768),
    regions=dict(type='RandomRegions'))
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='CropImage', size=image_size, scale=(0.9, 1.0)),
    dict(type='ChooseText'),
    dict(type='PackImageText')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=warmup_iters),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=warmup_iters, end=max_iters)]
