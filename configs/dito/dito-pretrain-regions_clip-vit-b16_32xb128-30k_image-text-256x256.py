"""Stage B on both towers of a CLIP ViT-B/16, such as OpenAI's; no stage A."""
_base_ = [
    './dito-pretrain-regions_vit-b16_32xb128-30k_image-text-256x256.py',
    '../_base_/clip_pixels.py']

pretrained_clip = 'ViT-B-16/openai'
clip_init = dict(type='CLIPPretrained', checkpoint=pretrained_clip)
load_from = None
model = dict(
    data_preprocessor=dict(mean=_base_.clip_mean, std=_base_.clip_std),
    backbone=dict(
        _delete_=True, type='PlainViT', tower='ViT-B-16', pre_norm=True, norm_eps=1e-5,
        activation='quick_gelu', patch_bias=False, with_projection=True, frozen=True,
        init_cfg=clip_init),
    box_head=dict(embed_dims=512),
    text_encoder=dict(tower='ViT-B-16', init_cfg=clip_init))
