"""DITO's detector on both towers of a CLIP ViT-B/16, such as OpenAI's."""
_base_ = './dito_vit-b16.py'

pretrained_clip = 'ViT-B-16/openai'
clip_init = dict(type='CLIPPretrained', checkpoint=pretrained_clip)
clip_vit = dict(
    _delete_=True, type='PlainViT', tower='ViT-B-16', pre_norm=True, norm_eps=1e-5,
    activation='quick_gelu', patch_bias=False, with_projection=True,
    windows=(4, 4, None), shift=8, init_cfg=clip_init)
model = dict(
    data_preprocessor=dict(
        mean=[255 * x for x in (0.48145466, 0.4578275, 0.40821073)],
        std=[255 * x for x in (0.26862954, 0.26130258, 0.27577711)]),
    backbone=clip_vit,
    roi_head=dict(bbox_head=dict(embed_dims=512)),
    text_encoder=dict(tower='ViT-B-16', init_cfg=clip_init))
