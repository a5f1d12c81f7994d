"""Own images: objects cut out of them, and the place that each was taken from.

python tools/data/make_placement_pairs.py data/coco/annotations/instances_train2017.json \
    data/coco/train2017 data/placement_train
python tools/data/make_placement_pairs.py data/coco/annotations/instances_val2017.json \
    data/coco/val2017 data/placement_val
"""
_base_ = [
    '../_base_/models/topnet_vit-s16.py', '../_base_/datasets/placement_pairs.py',
    '../_base_/topnet_runtime.py']
