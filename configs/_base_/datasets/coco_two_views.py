# COCO 2017, the 118287 images of data/coco/train2017. For a part of them name a COCO
# file, e.g. ann_file='annotations/instances_minitrain2017.json'.
_base_ = './two_views.py'

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    dataset=dict(data_root='data/coco', data_prefix=dict(img_path='train2017')))
