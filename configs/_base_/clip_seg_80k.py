"""What the segmentors on CLIP's towers share: ADE20K, 80 000 steps of 32 images."""
_base_ = [
    'mmseg::_base_/models/fpn_r50.py', 'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_80k.py',
    './clip_pixels.py']

# So that mmseg's own tools know the classes, too.
custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)

model = dict(
    # mmseg's own shortcut for a checkpoint; towers have their init_cfg.
    pretrained=None,
    data_preprocessor=dict(
        mean=_base_.clip_mean, std=_base_.clip_std, size=_base_.crop_size),
    decode_head=dict(channels=256),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)))

# Ratios of the scale, as published; mmseg's own are ratios of the image.
tta_scales = [(int(2048 * r), int(512 * r)) for r in _base_.img_ratios]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
        [dict(type='LoadAnnotations', reduce_zero_label=True)],
        [dict(type='PackSegInputs')]])]

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(
        backbone=dict(lr_mult=0.1), text_encoder=dict(lr_mult=0.0),
        norm=dict(decay_mult=0.0))))
param_scheduler = [dict(
    type='mmcontrast.WarmupPolyLR', by_epoch=False, warmup=1500, warmup_ratio=1e-6,
    power=0.9, eta_min=1e-6)]
# Batch norm learns, over all GPUs.
sync_bn = 'torch'
auto_scale_lr = dict(base_batch_size=32)
