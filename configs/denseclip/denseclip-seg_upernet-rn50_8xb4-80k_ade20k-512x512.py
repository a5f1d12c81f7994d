"""UPerNet instead of Semantic FPN: the score map goes to the head."""
_base_ = './denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'

model = dict(
    neck=None,
    decode_head=dict(
        _delete_=True, type='UPerHead', in_channels=[256, 512, 1024, 2048],
        in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6), channels=512,
        dropout_ratio=0.1, norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)))
