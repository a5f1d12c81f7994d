"""The same code in about a minute, from random weights."""
_base_ = './propvg-corrected_tiny_1xb32-3e_shapes-128x128.py'

model = dict(encoder=dict(init_cfg=None))
max_epochs = 2
train_dataloader = dict(batch_size=8, dataset=dict(num_images=16))
val_dataloader = dict(batch_size=8, dataset=dict(num_images=8))
test_dataloader = dict(batch_size=8, dataset=dict(num_images=8))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
default_hooks = dict(logger=dict(interval=5))
