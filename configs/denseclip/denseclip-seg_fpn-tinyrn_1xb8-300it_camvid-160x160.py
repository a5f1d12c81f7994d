"""Road scenes of CamVid on a CPU: the small CLIP, images at half size."""
_base_ = './clip-seg_fpn-tinyrn_1xb8-300it_camvid-160x160.py'

model = dict(
    type='mmcontrast.DenseCLIP',
    class_names=_base_.class_texts,
    backbone=dict(
        type='mmcontrast.CLIPResNetWithAttention', embed_dims=128, input_size=64),
    text_encoder=dict(
        type='CLIPTextEncoder', embed_dims=128, width=64, heads=4, layers=2,
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder', width=64, heads=4, layers=2),
    identity_head=dict(
        ignore_index=_base_.ignore_index,
        loss_decode=dict(_base_.loss, loss_weight=0.4)))
