"""mmdet's CopyPaste: objects of another scene, where and how large they were there."""
_base_ = './faster-rcnn_r18-fpn_1xb4-200it_shapes.py'

dataset = dict(_base_.train_dataloader.dataset, pipeline=_base_.load)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='MultiImageMixDataset', dataset=dataset,
    pipeline=[dict(type='CopyPaste', max_num_pasted=4), *_base_.augment]))
