"""DITO with ViT-L/16 on OV-LVIS, from the released pretraining.

python tools/convert/official.py dito pretrained_dito_large.msgpack \
    pretrained_dito_large.pth --drop box_head.temperature
"""
_base_ = [
    '../_base_/models/dito_vit-l16.py', '../_base_/datasets/lvis_ov_lsj.py',
    '../_base_/dito_runtime.py']

# Backbone, pyramid and box head; the frozen copy starts as the backbone does.
pretrained, embeddings = 'pretrained_dito_large.pth', 'dito_large_embeddings/'
model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    backbone=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    vlm=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='backbone.')),
    neck=dict(init_cfg=dict(
        type='Pretrained', checkpoint=pretrained, prefix='neck.')),
    roi_head=dict(
        bbox_head=dict(init_cfg=dict(
            type='Pretrained', checkpoint=pretrained, prefix='box_head.'))),
    # The release has class embeddings in place of a text tower for PyTorch. That their
    # rows are the classes in the order of LVIS was not checked here.
    text_encoder=None, text_embeddings=embeddings + 'lvis_embed.npy',
    text_vocabulary=_base_.all_classes, background=embeddings + 'bg_empty_embed.npy')
