"""Runtime of DITO on OV-COCO: a quarter of the steps, batch 128, as RO-ViT."""
_base_ = './dito_runtime.py'

max_iters, val_interval = 11300, 2000
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0032 / 0.02, by_epoch=False, end=1001),
    dict(type='MultiStepLR', by_epoch=False, gamma=0.1,
         milestones=[max_iters * percent // 100 for percent in (80, 90, 95)])]
default_hooks = dict(checkpoint=dict(interval=val_interval))
