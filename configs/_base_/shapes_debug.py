# The toy world on a CPU, in about a minute: a method's code runs, and learns a little.
_base_ = [
    './datasets/shapes_two_views.py',
    './schedules/small_data.py',
    './pretrain_runtime.py']

batch_size, view_size = 32, 64
train_pipeline = [dict(type='FastTwoViews', size=view_size), dict(type='PackViews')]
train_dataloader = dict(
    batch_size=batch_size, num_workers=1,
    dataset=dict(num_images=320, pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=4)
default_hooks = dict(logger=dict(interval=5))
