"""DITO with ViT-B/16 on OV-COCO, 48 base and 17 novel classes."""
_base_ = [
    '../_base_/models/dito_vit-b16_pretrained.py',
    '../_base_/datasets/coco_ov_lsj.py', '../_base_/dito_coco_runtime.py']

model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes,
    roi_head=dict(mask_head=None),
    # COCO counts 100 detections of an image.
    test_cfg=dict(rcnn=dict(max_per_img=100)))
