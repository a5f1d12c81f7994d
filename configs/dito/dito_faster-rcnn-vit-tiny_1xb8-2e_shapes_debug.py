"""The same code in about a minute, from random weights: the classes of the training
are told apart by random text embeddings, novel ones are not."""
_base_ = './dito_faster-rcnn-vit-tiny_1xb8-6e_shapes.py'

model = dict(
    backbone=dict(init_cfg=None), neck=dict(init_cfg=None),
    roi_head=dict(bbox_head=dict(init_cfg=None)), vlm=None,
    text_encoder=dict(init_cfg=None))
max_epochs = 2
train_dataloader = dict(dataset=dict(indices=160))
val_dataloader = dict(dataset=dict(indices=20))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=5),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs, eta_min=1e-6,
         convert_to_iter_based=True)]
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=max_epochs))
