"""Stage A with ViT-L/16."""
_base_ = './dito-pretrain-images_vit-b16_32xb128-500k_image-text-224x224.py'

model = dict(
    backbone=dict(layers=24, width=1024), text_encoder=dict(tower='ViT-H-14'))
