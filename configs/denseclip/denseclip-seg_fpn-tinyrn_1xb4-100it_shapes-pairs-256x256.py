"""The toy world by color and shape, few labels, guided by the names of the pairs."""
_base_ = './clip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-256x256.py'

model = dict(
    type='mmcontrast.DenseCLIP',
    class_names=_base_.classes,
    # The names as the small CLIP learned them, nothing before them.
    num_contexts=0,
    # A class has two or three images; the class texts have to distinguish them.
    score_weight=1.0,
    backbone=dict(
        type='mmcontrast.CLIPResNetWithAttention', embed_dims=128, input_size=64,
        local='value'),
    text_encoder=dict(
        type='CLIPTextEncoder', embed_dims=128, width=64, heads=4, layers=2,
        # Room for longer names at test time; the small CLIP has 48 positions.
        context_length=16,
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder', width=64, heads=4, layers=2))
