"""Stage B with ViT-L/16."""
_base_ = './dito-pretrain-regions_vit-b16_32xb128-30k_image-text-256x256.py'

load_from = (
    'work_dirs/dito-pretrain-images_vit-l16_32xb128-500k_image-text-224x224/'
    'iter_500000.pth')
model = dict(
    backbone=dict(layers=24, width=1024), neck=dict(in_channels=1024),
    box_head=dict(embed_dims=1024), text_encoder=dict(tower='ViT-H-14'))
