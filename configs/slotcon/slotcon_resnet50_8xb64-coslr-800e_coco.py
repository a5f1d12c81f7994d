# The released COCO recipe: 8 GPUs x 64 images, 184800 iterations.
_base_ = [
    '../_base_/datasets/coco_two_views.py',
    '../_base_/models/slotcon_resnet50.py',
    '../_base_/schedules/lars_cosine_slotcon.py',
    '../_base_/slot_runtime.py']

num_gpus, batch_size = 8, 64
# Bicubic, and a second crop that meets the first.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(
    interpolation='bicubic', crop_pair=dict(type='OverlapCrops'))
train_dataloader = dict(
    batch_size=batch_size, num_workers=8, dataset=dict(pipeline=train_pipeline))
# 1.0 per 256 images.
optim_wrapper = dict(optimizer=dict(lr=1.0 * num_gpus * batch_size / 256))
train_cfg = dict(max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=50))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
