_base_ = './clip-det_mask-rcnn-rn50_8xb2-12e_coco.py'

pretrained = 'RN101/openai'
model = dict(backbone=dict(tower='RN101', init_cfg=dict(checkpoint=pretrained)))
