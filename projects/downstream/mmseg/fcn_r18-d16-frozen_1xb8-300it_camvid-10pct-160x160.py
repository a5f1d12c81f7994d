"""The small CamVid FCN with few labels on a frozen backbone: only the head learns.

Says what the backbone knows before any label; random weights are the floor.
"""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-10pct-160x160.py'

model = dict(backbone=dict(frozen_stages=4, norm_eval=True))
