"""The same with two ViT-B/16."""
_base_ = [
    '../_base_/models/topnet_vit-b16.py', '../_base_/datasets/opa_placements.py',
    '../_base_/topnet_runtime.py']
