# What `make demo` runs: a few minutes of PixPro on a CPU, on any folder of images.
# Counted in iterations, so that the time does not depend on how many there are.
_base_ = [
    '../_base_/datasets/folder_two_views.py',
    '../_base_/models/pixpro_resnet18.py',
    '../_base_/schedules/small_data.py',
    '../_base_/pretrain_runtime.py']

batch_size, view_size = 32, 64
train_pipeline = [dict(type='FastTwoViews', size=view_size), dict(type='PackViews')]
train_dataloader = dict(
    batch_size=batch_size, num_workers=1, pin_memory=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root='data/shapes/img_dir/train', pipeline=train_pipeline))

max_iters = 600
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters,
    val_interval=max_iters)
# Ends with the run, however long that is.
param_scheduler = dict(warmup='10%', by_epoch=False, convert_to_iter_based=False)

# How much a frozen backbone knows about labeled scenes, from random weights on.
labeled = dict(
    img_dir='data/shapes/img_dir/train', ann_dir='data/shapes/ann_dir_things/train',
    classes=('object', 'sky', 'ground'))
probe = dict(
    type='DenseProbeHook', kind='linear', interval='20%', by_epoch=False,
    size=128, num_train=60, num_val=60,
    train_dataset=labeled,
    val_dataset=dict(labeled, img_dir='data/shapes/img_dir/val',
                     ann_dir='data/shapes/ann_dir_things/val'))
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    momentum=dict(start=0.95),
    checkpoint=dict(by_epoch=False, interval=max_iters // 2),
    probe=probe)
log_processor = dict(by_epoch=False, window_size=10)
