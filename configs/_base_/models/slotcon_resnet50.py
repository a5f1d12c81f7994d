# SlotCon with ResNet-50 and the 256 prototypes of its COCO settings.
_base_ = './two_view_resnet50.py'

mlp = dict(
    num_layers=3, hidden_channels=4096, norm_cfg=_base_.norm_cfg,
    act_cfg=dict(type='GELU'), init_std=0.02)
model = dict(
    type='SlotCon',
    projector=dict(type='ConvMLP', out_channels=256, **mlp),
    # Over slots; as wide as the projector.
    predictor=dict(type='RowMLP', **mlp),
    grouping=dict(type='SlotGrouping', num_slots=256, temperature=0.07),
    student_temperature=0.1,
    teacher_temperature=0.07,
    contrast_temperature=0.2,
    center_momentum=0.9,
    distill_weight=0.5)
