"""The toy world: phrases for one object, for several and for none, on a CPU.

The encoder comes from ``propvg-encoder-phrases_tiny_1xb32-6e_shapes-128x128.py``.
"""
_base_ = [
    '../_base_/models/propvg_tiny.py', '../_base_/datasets/shapes_grounding.py',
    '../_base_/propvg_tiny_runtime.py']

pretrained = 'work_dirs/propvg-encoder-phrases_tiny_1xb32-6e_shapes-128x128/epoch_6.pth'
model = dict(encoder=dict(init_cfg=dict(
    _delete_=True, type='Pretrained', checkpoint=pretrained, prefix='encoder.')))
# Encoder and head learn from the same scenes: closer rates than from BEiT-3.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(encoder=dict(lr_mult=0.3))))
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
