"""The same with objects of the 20 scenes, where a TopNet finds them plausible."""
_base_ = './faster-rcnn_r18-fpn_1xb4-200it_shapes.py'

# As many as mmdet's CopyPaste draws: 0, 1, 2 or 3, each as often.
paste = dict(
    type='mmcontrast.PlacedCopyPaste', bank='work_dirs/placement/seed0/bank',
    classes=_base_.classes, num_objects=(1, 3), prob=0.75, placement='placed')
train_dataloader = dict(dataset=dict(pipeline=[*_base_.load, paste, *_base_.augment]))
