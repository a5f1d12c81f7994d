"""The same objects in the same sizes, at random places."""
_base_ = './faster-rcnn_r18-fpn_1xb4-200it_shapes-placed.py'

paste = dict(placement='random')
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.load, {**_base_.paste, **paste}, *_base_.augment]))
