"""Runtime of the small PropVG of the toy world: AdamW, a high rate, a cosine."""
_base_ = './propvg_runtime.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, betas=(0.9, 0.98),
                   weight_decay=0.01, fused=True),
    paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0))
param_scheduler = dict(
    _delete_=True, type='WarmupCosineLR', warmup='3%', multiplier=1000, eta_min=0,
    by_epoch=True, convert_to_iter_based=True)
