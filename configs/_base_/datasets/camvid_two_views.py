# CamVid road scenes, 367 training images of 480 x 360 in mmseg layout; labels unused.
_base_ = './two_views.py'

train_dataloader = dict(dataset=dict(
    data_root='data/camvid', data_prefix=dict(img_path='img_dir/train')))
