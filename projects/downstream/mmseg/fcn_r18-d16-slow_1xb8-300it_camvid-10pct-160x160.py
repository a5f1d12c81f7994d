"""The small CamVid FCN with few labels; the backbone learns at a tenth of the rate.

Between the frozen backbone and the one that is trained as the head is.
"""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-10pct-160x160.py'

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
