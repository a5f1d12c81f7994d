"""DITO with the ViT-B/16 of CLIP on OV-LVIS."""
_base_ = [
    '../_base_/models/dito_clip-vit-b16_pretrained.py',
    '../_base_/datasets/lvis_ov_lsj.py', '../_base_/dito_runtime.py']

model = dict(
    class_names=_base_.base_classes, test_class_names=_base_.all_classes)
