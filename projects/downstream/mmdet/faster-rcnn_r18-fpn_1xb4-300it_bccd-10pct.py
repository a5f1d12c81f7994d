"""The small BCCD Faster R-CNN with few labels: every 10th image, 21 of 205."""
_base_ = './faster-rcnn_r18-fpn_1xb4-300it_bccd.py'

train_dataloader = dict(dataset=dict(indices=list(range(0, 205, 10))))
