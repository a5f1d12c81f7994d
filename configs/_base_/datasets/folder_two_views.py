# Your own images: put or link them into data/images (any sub-folders), or set
# --cfg-options train_dataloader.dataset.data_root=PATH to a folder or a .zip archive.
_base_ = './two_views.py'

train_dataloader = dict(dataset=dict(data_root='data/images'))
