# SlotCon for a CPU and few images: ResNet-18 whose last stage keeps the stride of 16,
# so that small views give maps with cells to group, narrow heads and few prototypes.
# Three things differ from the paper, because with some hundred steps its own settings
# end with all cells equally close to all prototypes: a norm behind the projector, a
# sharper teacher, and short prototypes, which an AdamW step turns further.
_base_ = './slotcon_resnet50.py'

norm_cfg = dict(type='BN')
mlp = dict(hidden_channels=1024, norm_cfg=norm_cfg)
model = dict(
    backbone=dict(depth=18, norm_cfg=norm_cfg, strides=(1, 2, 2, 1)),
    projector=dict(
        out_channels=128, out_norm_cfg=dict(type='BN', affine=False), **mlp),
    predictor=mlp,
    grouping=dict(num_slots=32, init_std=0.1),
    teacher_temperature=0.04)
