# SlotCon for a CPU and few images: ResNet-18 whose last stage keeps the stride of 16,
# so that small views give maps with cells to group, narrow heads and few prototypes.
_base_ = './slotcon_resnet50.py'

norm_cfg = dict(type='BN')
mlp = dict(hidden_channels=1024, norm_cfg=norm_cfg)
model = dict(
    backbone=dict(depth=18, norm_cfg=norm_cfg, strides=(1, 2, 2, 1)),
    projector=dict(out_channels=128, **mlp),
    predictor=mlp,
    grouping=dict(num_slots=64))
