"""The same code in about a minute."""
_base_ = './propvg-corrected_tiny_1xb8-1e_shapes-128x128.py'

max_epochs = 2
train_dataloader = dict(dataset=dict(num_images=16))
val_dataloader = dict(dataset=dict(num_images=8))
test_dataloader = dict(dataset=dict(num_images=8))
param_scheduler = dict(warmup=0.2)
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
default_hooks = dict(logger=dict(interval=5))
