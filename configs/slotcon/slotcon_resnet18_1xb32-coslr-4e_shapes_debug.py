# The same code on the toy world, on a CPU, in about a minute.
_base_ = ['../_base_/models/slotcon_resnet18.py', '../_base_/shapes_debug.py']

# Bicubic, and a second crop that meets the first.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(
    interpolation='bicubic', crop_pair=dict(type='OverlapCrops'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    projector=dict(hidden_channels=256, out_channels=64),
    grouping=dict(num_slots=8),
    predictor=dict(hidden_channels=256))
default_hooks = dict(
    slot_images=dict(type='SlotImagesHook', interval=2))
