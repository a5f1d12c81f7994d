# Your own images on one GPU: set train_dataloader.dataset.data_root to a folder, a
# zip or (with ann_file) a list. The published recipe with the rate of the smaller
# batch; epochs are passes over your images, so raise them when there are few.
_base_ = [
    '../_base_/datasets/folder_two_views.py',
    '../_base_/models/slotcon_resnet50.py',
    '../_base_/schedules/lars_cosine_slotcon.py',
    '../_base_/slot_runtime.py']

batch_size = 64
# Bicubic, and a second crop that meets the first.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(
    interpolation='bicubic', crop_pair=dict(type='OverlapCrops'))
train_dataloader = dict(
    batch_size=batch_size, num_workers=8, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1.0 * batch_size / 256))
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=batch_size)
