# The same code on close-ups of the toy world, on a CPU, in about a minute:
#   python tools/data/make_shapes.py data/shapes --layout classes --train 400 --val 200
_base_ = './linear_resnet50_8xb32-steplr-100e_in1k.py'

data_root, num_classes, epochs = 'data/shapes/by_shape/', 8, 10

model = dict(
    backbone=dict(depth=18),
    head=dict(in_channels=512, num_classes=num_classes, topk=(1,)))
data_preprocessor = dict(num_classes=num_classes)

train_dataloader = dict(num_workers=1, dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='train',
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs')]))
val_dataloader = dict(num_workers=1, dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='val',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

# The rate of 30 is for batches of 256.
optim_wrapper = dict(optimizer=dict(lr=30 * 32 / 256))
param_scheduler = [dict(
    type='MultiStepLR', by_epoch=True, milestones=[epochs * 6 // 10, epochs * 8 // 10],
    gamma=0.1)]
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
default_hooks = dict(checkpoint=dict(interval=epochs))
