"""Own images: objects cut out of them, and the place that each was taken from.

for split in train val; do
  python tools/data/make_placement_pairs.py \
      data/coco/annotations/instances_${split}2017.json data/coco/${split}2017 \
      data/placement_$split
done
"""
_base_ = [
    '../_base_/models/topnet_vit-s16.py', '../_base_/datasets/placement_pairs.py',
    '../_base_/topnet_runtime.py']
