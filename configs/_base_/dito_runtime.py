"""Runtime of DITO's detectors: mmdet's, schedules in iterations, decay of kernels."""
_base_ = ['mmdet::_base_/default_runtime.py', './schedules/dito_detector.py']

# So that mmdet's own tools know the classes, too.
custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)

val_interval = 5000
train_cfg = dict(val_interval=val_interval)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# The backbone's gradient counts 0.6, and only kernels of neck and heads decay.
optim_wrapper = dict(
    optimizer=dict(weight_decay=1e-4),
    paramwise_cfg=dict(
        bias_decay_mult=0.0, norm_decay_mult=0.0, custom_keys=dict(
            backbone=dict(lr_mult=0.6, decay_mult=0.0),
            temperature=dict(decay_mult=0.0))))
# Scores are products of class and localization, lower than those of other detectors.
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=val_interval, max_keep_ckpts=2),
    visualization=dict(score_thr=0.05))
log_processor = dict(by_epoch=False)
