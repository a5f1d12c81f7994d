# Your own images on a CPU, some minutes on two cores: set
# train_dataloader.dataset.data_root to a folder or a .zip archive.
_base_ = './pixpro_resnet18_1xb32-coslr-600i_demo.py'

train_dataloader = dict(dataset=dict(data_root='data/images'))
# The demo's probe needs labeled images.
default_hooks = dict(probe=None)
