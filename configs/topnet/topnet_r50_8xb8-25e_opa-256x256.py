"""The same with two ResNets-50."""
_base_ = [
    '../_base_/models/topnet_r50.py', '../_base_/datasets/opa_placements.py',
    '../_base_/topnet_runtime.py']
