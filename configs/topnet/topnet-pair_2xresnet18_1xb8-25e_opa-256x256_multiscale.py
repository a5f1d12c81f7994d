"""Test of the search over sixteen sizes, by FOPA's protocol: the first 50 boxes.

data/OPA: backgrounds, foregrounds, composites and test_set.csv of OPA itself.
"""
_base_ = [
    './topnet-pair_2xresnet18_1xb8-25e_opa-256x256.py',
    '../_base_/opa_composite_metrics.py']

model = dict(test_cfg=dict(k=50))
test_dataloader = dict(dataset=dict(
    _delete_=True, type='OPAComposites', ann_file='test_set.csv',
    data_root='data/OPA/', positives_only=True, test_mode=True, pipeline=[
        dict(type='PrepareTopNetPairScales', size=256), dict(type='PackPlacement')]))
test_evaluator = _base_.composite_metrics
