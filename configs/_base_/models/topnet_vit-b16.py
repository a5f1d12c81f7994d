"""TopNet with two ViT-B/16 of ImageNet."""
_base_ = './topnet_vit-s16.py'

vit = dict(arch='deit-base', init_cfg=dict(
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
    'deit-base_pt-16xb64_in1k_20220216-db63c16c.pth'))
model = dict(background_encoder=vit, object_encoder=vit)
