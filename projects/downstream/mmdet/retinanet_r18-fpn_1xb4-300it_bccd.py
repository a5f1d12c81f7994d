"""RetinaNet with a ResNet-18 on blood cells; runs on a CPU."""
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './_base_/bccd.py']

# Written by tools/convert/export_backbone.py. For random weights instead:
# --cfg-options model.backbone.init_cfg=None
pretrained = 'work_dirs/backbone.pth'

# Narrow heads: mmdet's 256 channels cost several times the backbone.
channels = 64
model = dict(
    backbone=dict(
        depth=18, frozen_stages=-1, norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=channels),
    bbox_head=dict(
        in_channels=channels, feat_channels=channels, stacked_convs=2,
        num_classes=len(_base_.classes)))

# Half of the two-stage rate, as in the published settings.
optim_wrapper = dict(optimizer=dict(lr=0.01))
