"""RetinaNet on COCO: a one-stage detector under the same protocol.

No table of PixPro or SlotCon has this row; it is there to see whether a backbone
also serves a detector without a region head.
"""
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    './_base_/coco_detection_640-800.py', './_base_/transfer_90k.py']

# Written by tools/convert/export_backbone.py.
pretrained = 'work_dirs/backbone.pth'

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    neck=dict(norm_cfg=norm_cfg))

# Half of the two-stage rate, as in mmdet's and detectron2's RetinaNet.
optim_wrapper = dict(optimizer=dict(lr=0.01))
