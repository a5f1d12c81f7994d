# The same code in about a minute: colors are learned, shapes hardly.
_base_ = './clip_tinyrn_1xb64-coslr-32e_shapes.py'

train_dataloader = dict(dataset=dict(num_images=1000))
val_dataloader = dict(dataset=dict(num_images=60))
train_cfg = dict(max_epochs=12, val_interval=6)
default_hooks = dict(logger=dict(interval=15))
