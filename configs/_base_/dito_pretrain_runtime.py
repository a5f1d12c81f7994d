"""Runtime of DITO's pretraining: iterations, AdamW, shards that resume."""
_base_ = './image_text_runtime.py'

max_iters, warmup_iters = 500000, 10000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01),
    paramwise_cfg=dict(
        bias_decay_mult=0.0, norm_decay_mult=0.0, custom_keys=dict(
            positional_embedding=dict(decay_mult=0.0),
            logit_scale=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=warmup_iters),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=warmup_iters, end=max_iters)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000))
log_processor = dict(by_epoch=False)
