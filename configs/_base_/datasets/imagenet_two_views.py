# ImageNet-1k, 1281167 images in data/imagenet/train/<class>/<file>.JPEG.
_base_ = './two_views.py'

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    dataset=dict(data_root='data/imagenet', data_prefix=dict(img_path='train')))
