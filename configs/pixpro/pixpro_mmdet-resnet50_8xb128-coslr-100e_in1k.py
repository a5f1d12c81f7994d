# The same with the backbone class of mmdetection.
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

model = dict(backbone=dict(
    _delete_=True,
    type='mmdet.ResNet',
    depth=50,
    out_indices=(3, ),
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    norm_eval=False,
    zero_init_residual=True))
