"""Test of the composites: accuracy, FID and LPIPS of boxes among the first 50."""
_base_ = [
    '../_base_/models/topnet_vit-s16.py', '../_base_/datasets/opa_composites.py',
    '../_base_/topnet_runtime.py']

model = dict(test_cfg=dict(k=50))
