"""The toy world by color and shape, few labels, without texts: the baseline."""
_base_ = ['../_base_/clip_seg_tiny.py', '../_base_/datasets/shapes_pairs_seg.py']

# Trained on in mosaics, see docs/toy_clip.md.
pretrained = 'work_dirs/toy_clip_mosaics/toy_clip.safetensors'
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(init_cfg=dict(checkpoint=pretrained)),
    decode_head=dict(num_classes=len(_base_.classes)))

max_iters = 100
train_dataloader = dict(batch_size=4)
param_scheduler = [dict(
    type='mmcontrast.WarmupPolyLR', by_epoch=False, warmup=max_iters // 10,
    eta_min=1e-6)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
