# Your own images on one GPU: set train_dataloader.dataset.data_root to a folder, a
# zip or (with ann_file) a list. The published recipe with the rate of the smaller
# batch; epochs are passes over your images, so raise them when there are few.
_base_ = [
    '../_base_/datasets/folder_two_views.py',
    '../_base_/models/pixpro_resnet50.py',
    '../_base_/schedules/lars_cosine.py',
    '../_base_/pretrain_runtime.py']

batch_size = 64
train_dataloader = dict(batch_size=batch_size, num_workers=8)
optim_wrapper = dict(optimizer=dict(lr=1.0 * batch_size / 256))
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=batch_size)
