"""Semantic FPN on the small CLIP of configs/clip: minutes on a CPU."""
_base_ = ['mmseg::_base_/models/fpn_r50.py', 'mmseg::_base_/default_runtime.py',
          './clip_pixels.py']

custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)
# See docs/toy_clip.md. Random weights instead: the _debug configs.
pretrained = 'work_dirs/toy_clip/toy_clip.safetensors'

channels, norm_cfg = 64, dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(
        mean=_base_.clip_mean, std=_base_.clip_std),
    backbone=dict(
        _delete_=True, type='mmcontrast.CLIPResNet', layers=(1, 1, 1, 1), width=16,
        init_cfg=dict(type='CLIPPretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels),
    decode_head=dict(
        in_channels=[channels] * 4, channels=channels, norm_cfg=norm_cfg))

max_iters = 300
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(
        backbone=dict(lr_mult=0.1), norm=dict(decay_mult=0.0))))
param_scheduler = [dict(
    type='mmcontrast.WarmupPolyLR', by_epoch=False, warmup=max_iters // 10,
    eta_min=1e-6)]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=max_iters,
        # Written beside, then renamed: a run that dies leaves no half file.
        backend_args=dict(backend='atomic')),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
log_processor = dict(window_size=20)
