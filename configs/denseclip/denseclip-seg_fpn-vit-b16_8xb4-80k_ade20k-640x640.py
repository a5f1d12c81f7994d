"""Semantic FPN guided by ADE20K's class names, on both towers of CLIP's ViT-B/16."""
_base_ = './clip-seg_fpn-vit-b16_8xb4-80k_ade20k-640x640.py'

model = dict(
    type='mmcontrast.DenseCLIP',
    class_names='ade',
    # Patches have stride 16, and so has the score map.
    concat_index=2,
    backbone=dict(with_embeddings=True),
    text_encoder=dict(
        type='CLIPTextEncoder', tower='ViT-B-16',
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder'))
