"""What the detectors on CLIP's towers share: mmdet's runtime, 12 epochs, AdamW."""
_base_ = [
    'mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py',
    './clip_pixels.py']

# So that mmdet's own tools know the classes, too.
custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)
# Where the towers come from: ARCHITECTURE/TAG of open_clip, or a file.
pretrained = 'RN50/openai'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(
        backbone=dict(lr_mult=0.1), text_encoder=dict(lr_mult=0.0),
        norm=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=0.1, norm_type=2))
# mmengine's ramp ends one step before `end`; the released one takes 500 steps.
warmup_steps = 500
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0,
         end=warmup_steps + 1),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11],
         gamma=0.1)]
# Batch norm learns, over all GPUs.
sync_bn = 'torch'
