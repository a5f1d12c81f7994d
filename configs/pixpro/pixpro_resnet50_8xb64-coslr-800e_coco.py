# COCO train2017 without labels. Not a released setting: batch, rate and epochs are
# those of SlotCon on COCO (512 images, 1.0 per 256, 800 epochs), to compare the two.
_base_ = [
    '../_base_/datasets/coco_two_views.py',
    '../_base_/models/pixpro_resnet50.py',
    '../_base_/schedules/lars_cosine.py',
    '../_base_/pretrain_runtime.py']

num_gpus, batch_size = 8, 64
train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(lr=1.0 * num_gpus * batch_size / 256))
train_cfg = dict(max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=50))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
