"""Runtime of TopNet: epochs, AdamW, a tenth of the rate for the encoders."""
_base_ = './runtime.py'

max_epochs = 25
encoder = dict(lr_mult=0.1)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    # Weight decay of all parameters alike: with custom_keys, mmengine would apply rules
    # for biases and norms to the fusion alone.
    paramwise_cfg=dict(custom_keys=dict(
        background_encoder=encoder, object_encoder=encoder)))
# In epochs: 5 % of the run, to the nearest step below.
param_scheduler = dict(
    type='WarmupCosineLR', warmup=0.05 * max_epochs, multiplier=1000, eta_min=0,
    by_epoch=True, convert_to_iter_based=True)
# Pairs with a damaged image are replaced and listed.
default_hooks = dict(bad_images=dict(type='BadImagesHook'))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
