"""The toy world: objects stand on the ground, at a size that fits the depth.

One true box a scene is known, as in pairs made by inpainting.
"""
_base_ = [
    '../_base_/models/topnet_tinyrn.py', '../_base_/datasets/shapes_placements.py',
    '../_base_/topnet_runtime.py']

max_epochs = 10
# All parts start from random weights.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(
        _delete_=True, bias_decay_mult=0.0, norm_decay_mult=0.0))
param_scheduler = dict(warmup=1)
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
