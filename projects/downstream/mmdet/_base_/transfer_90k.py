"""The transfer protocol of MoCo and PixPro: detectron2's 1x schedule in iterations.

8 GPUs x 2 images; COCO has 117,266 images with boxes, so 90,000 iterations are
90,000 * 16 / 117,266 = 12.3 epochs.
"""
_base_ = 'mmdet::_base_/default_runtime.py'

max_iters = 90_000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 9)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# 1000 warm-up iterations from a thousandth: detectron2's default.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=max_iters,
         milestones=[60_000, 80_000], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=max_iters // 9, max_keep_ckpts=2))
log_processor = dict(by_epoch=False)
