"""FCN with a ResNet-18 (output stride 16) on road scenes; runs on a CPU."""
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', './_base_/camvid.py']

# Written by tools/convert/export_backbone.py. For random weights instead:
# --cfg-options model.backbone.init_cfg=None
pretrained = 'work_dirs/backbone.pth'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    # mmseg's own shortcut for a checkpoint; it would win over init_cfg.
    pretrained=None,
    data_preprocessor=dict(
        size=_base_.crop_size, seg_pad_val=_base_.ignore_index),
    backbone=dict(
        # The 7x7 stem of the pretrained networks, not the three convs of V1c.
        type='ResNet', depth=18, norm_cfg=norm_cfg,
        # As it was pretrained: stride 16 without dilation. A network pretrained at
        # stride 32 would need dilations=(1, 1, 1, 2) to keep its receptive field.
        strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    decode_head=dict(
        in_channels=512, channels=128, num_convs=2, concat_input=False,
        dropout_ratio=0, norm_cfg=norm_cfg, num_classes=len(_base_.classes),
        ignore_index=_base_.ignore_index,
        loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=None)
