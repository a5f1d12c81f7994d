"""The toy world, first step: the encoder learns to see.

As BEiT-3 is pretrained before PropVG. Batches of many images, with one phrase each:
mostly the texture, color and shape of the objects are learned.
"""
_base_ = ['../_base_/models/propvg_tiny.py', '../_base_/datasets/shapes_grounding.py',
          '../_base_/propvg_tiny_runtime.py']

model = dict(head=dict(_delete_=True, type='PhrasePatchHead', attributes=(4, 8, 8),
                       attribute_weight=1.0))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(encoder=dict(lr_mult=1.0))))
train_dataloader = dict(
    dataset=dict(sentences='random'),
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
max_epochs = 24
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=6))
# It gives no boxes that could be scored.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
