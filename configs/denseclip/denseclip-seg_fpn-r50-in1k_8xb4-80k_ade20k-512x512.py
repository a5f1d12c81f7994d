"""Any backbone: torchvision's ResNet-50, with an attention pool that is learned here.

The texts come from the tower of ViT-B/16, as in the paper.
"""
_base_ = './denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'

model = dict(
    # Normalized as that backbone was trained.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True, type='ResNet', depth=50,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    attention_pool=dict(
        type='DenseAttentionPool', grid_size=_base_.crop_size[0] // 32),
    text_encoder=dict(
        tower='ViT-B-16', init_cfg=dict(checkpoint='ViT-B-16/openai')))
