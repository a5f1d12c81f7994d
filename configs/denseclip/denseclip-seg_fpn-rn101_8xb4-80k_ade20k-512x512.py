_base_ = './denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'

pretrained = 'RN101/openai'
model = dict(
    backbone=dict(tower='RN101', init_cfg=dict(checkpoint=pretrained)),
    text_encoder=dict(tower='RN101', init_cfg=dict(checkpoint=pretrained)))
