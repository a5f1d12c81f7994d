"""Test of the search for a size at a given center: share with an IoU above 0.95.

One sample a plausible row of OPA, whose center is given.
"""
_base_ = './topnet_vit-s16_8xb8-25e_opa-256x256.py'

model = dict(test_cfg=dict(fix='center'))
test_dataloader = dict(dataset=dict(group=False, positives_only=True))
test_evaluator = dict(
    _delete_=True, type='PlacementIoU', topk=1, thresholds=(0.5, 0.95))
