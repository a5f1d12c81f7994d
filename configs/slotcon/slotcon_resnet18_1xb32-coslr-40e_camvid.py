# SlotCon on the 367 training frames of CamVid.
_base_ = [
    '../_base_/models/slotcon_resnet18.py',
    '../_base_/camvid_pretraining.py']

# Bicubic, and a second crop that meets the first.
train_pipeline = _base_.train_pipeline
train_pipeline[0].update(
    interpolation='bicubic', crop_pair=dict(type='OverlapCrops'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
default_hooks = dict(
    momentum=dict(start=0.99),
    # The branch that will be exported.
    probe=dict(backbone='momentum.backbone'),
    slot_images=dict(type='SlotImagesHook', interval=10))
