"""The code of the published settings in about a minute, from random weights."""
_base_ = './denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256.py'

max_iters = 60
model = dict(backbone=dict(init_cfg=None), text_encoder=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))))
param_scheduler = [dict(
    type='mmcontrast.WarmupPolyLR', by_epoch=False, warmup=max_iters // 10,
    eta_min=1e-6)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=max_iters))
log_processor = dict(window_size=5)
