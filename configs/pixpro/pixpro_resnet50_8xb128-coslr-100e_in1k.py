# The released 100-epoch recipe: 8 GPUs x 128 images, 125100 iterations.
_base_ = [
    '../_base_/datasets/imagenet_two_views.py',
    '../_base_/models/pixpro_resnet50.py',
    '../_base_/schedules/lars_cosine.py',
    '../_base_/pretrain_runtime.py']

num_gpus, batch_size = 8, 128
train_dataloader = dict(batch_size=batch_size)
# 1.0 per 256 images.
optim_wrapper = dict(optimizer=dict(lr=1.0 * num_gpus * batch_size / 256))
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=10))
auto_scale_lr = dict(base_batch_size=num_gpus * batch_size)
