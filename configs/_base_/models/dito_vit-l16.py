"""DITO's detector on ViT-L/16, the size of the released weights."""
_base_ = './dito_vit-b16.py'

width, embed_dims = 1024, 1024
model = dict(
    backbone=dict(
        layers=24, width=width, windows=(4, 4, 4, 4, 4, None)),
    neck=dict(in_channels=width),
    roi_head=dict(bbox_head=dict(embed_dims=embed_dims)),
    vlm=dict(windows=(4,) * 23 + (None,)),
    text_encoder=dict(tower='ViT-H-14'))
