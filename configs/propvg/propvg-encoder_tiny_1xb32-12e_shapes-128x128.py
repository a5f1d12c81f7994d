"""The toy world: train the encoder alone, before the whole model.

As BEiT-3 is pretrained before PropVG: an encoder of random weights learns to see from
the texture, color and shape of the objects, to read phrases from the patches that they
mean, and either only slowly from boxes and scores.
"""
_base_ = ['../_base_/models/propvg_tiny.py', '../_base_/datasets/shapes_grounding.py',
          '../_base_/propvg_tiny_runtime.py']

model = dict(head=dict(_delete_=True, type='PhrasePatchHead',
                       attributes=(4, 8, 8), attribute_weight=0.3))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(encoder=dict(lr_mult=1.0))))
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
# It gives no boxes that could be scored.
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
