# The same code on the toy world, on a CPU, in about a minute.
_base_ = [
    '../_base_/datasets/shapes_two_views.py',
    '../_base_/models/pixpro_resnet18.py',
    '../_base_/schedules/lars_cosine.py',
    '../_base_/pretrain_runtime.py']

batch_size, view_size = 32, 64
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='TwoViews', size=view_size, views='BYOL'),
    dict(type='PackViews')]
train_dataloader = dict(
    batch_size=batch_size, num_workers=1,
    dataset=dict(num_images=320, pipeline=train_pipeline))
model = dict(projector=dict(hidden_channels=256, out_channels=64))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3,
                                    weight_decay=1e-4))
param_scheduler = dict(warmup=1)
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=5))
