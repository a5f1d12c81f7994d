"""The baseline on RN101. (The released config loads the weights of RN50 instead.)"""
_base_ = './clip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'

pretrained = 'RN101/openai'
model = dict(backbone=dict(tower='RN101', init_cfg=dict(checkpoint=pretrained)))
