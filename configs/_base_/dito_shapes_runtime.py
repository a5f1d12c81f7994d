"""Runtime of detectors on the toy world: epochs, AdamW."""
_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmcontrast'], allow_failed_imports=False)
randomness = dict(seed=0)
max_epochs, warmup_iters = 6, 50
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=warmup_iters),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs, eta_min=1e-6,
         convert_to_iter_based=True)]
# Scores are products of class and localization, lower than those of other detectors.
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=3, max_keep_ckpts=1),
    visualization=dict(score_thr=0.05))
