"""Both terms in about a minute, from random weights, the text tower trained, too."""
_base_ = './dito-pretrain-regions_vit-tiny_1xb64-3e_shapes.py'

load_from = None
model = dict(
    backbone=dict(frozen=False), text_encoder=dict(frozen=False, init_cfg=None))
train_dataloader = dict(dataset=dict(num_images=320))
train_cfg = dict(max_epochs=2, val_interval=2)
val_dataloader = dict(dataset=dict(num_images=16))
default_hooks = dict(logger=dict(interval=5))
