"""The toy world, guided by the names of its shapes."""
_base_ = './clip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256.py'

model = dict(
    type='mmcontrast.DenseCLIP',
    class_names=_base_.classes,
    backbone=dict(
        type='mmcontrast.CLIPResNetWithAttention', embed_dims=128, input_size=64),
    text_encoder=dict(
        type='CLIPTextEncoder', embed_dims=128, width=64, heads=4, layers=2,
        # Room for longer names at test time; the small CLIP has 48 positions.
        context_length=24,
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder', width=64, heads=4, layers=2))
