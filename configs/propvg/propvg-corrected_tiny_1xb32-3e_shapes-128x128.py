"""The toy world: phrases for one object, for several and for none, on a CPU."""
_base_ = [
    '../_base_/models/propvg_tiny.py', '../_base_/datasets/shapes_grounding.py',
    '../_base_/propvg_runtime.py']

# An epoch is every phrase of 4000 scenes, 27000, in 3400 steps.
max_epochs = 1
# All parts start from random weights, so all learn at one rate.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=8e-4, weight_decay=0.01),
    paramwise_cfg=dict(_delete_=True, bias_decay_mult=0.0, norm_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0))
param_scheduler = dict(
    _delete_=True, type='WarmupCosineLR', warmup=0.03 * max_epochs, multiplier=1000,
    eta_min=0, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
