"""The toy world without texts: the baseline of DenseCLIP on the small CLIP."""
_base_ = ['../_base_/clip_seg_tiny.py', '../_base_/datasets/shapes_seg.py']

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=len(_base_.classes)))
