# The released ImageNet recipe: that of COCO with 2048 prototypes, 100 epochs.
_base_ = './slotcon_resnet50_8xb64-coslr-800e_coco.py'

train_dataloader = dict(dataset=dict(
    data_root='data/imagenet', data_prefix=dict(img_path='train')))
model = dict(grouping=dict(num_slots=2048))
train_cfg = dict(max_epochs=100)
default_hooks = dict(checkpoint=dict(interval=10))
