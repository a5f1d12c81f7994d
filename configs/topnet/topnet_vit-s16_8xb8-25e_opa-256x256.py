"""Labeled placements of OPA: its plausible boxes as positives, others as negatives."""
_base_ = [
    '../_base_/models/topnet_vit-s16.py', '../_base_/datasets/opa_placements.py',
    '../_base_/topnet_runtime.py']
