"""Semantic segmentation of the toy world by color and shape, with few labels.

56 pairs that occur in training ("red star"), sky and ground; eight pairs never do.
The scenes: python tools/data/make_shapes.py data/shapes_pairs --layout mmseg \
    --train 40 --val 100 --test 200 --train-combinations seen --eval-combinations seen
"""
_base_ = './shapes_seg.py'
data_root = 'data/shapes_pairs/'
# mmcontrast.datasets.shapes.layouts.PAIR_CLASSES
shapes = ('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'heart', 'moon')
colors = ('red', 'orange', 'yellow', 'green', 'cyan', 'blue', 'purple', 'pink')
held_out = tuple(
    f'{colors[c]} {shapes[s]}' for c in range(8) for s in range(8)
    if c == (3 * s + 1) % 8)
classes = tuple(
    f'{colors[c]} {shapes[s]}' for c in range(8) for s in range(8)
    if c != (3 * s + 1) % 8) + ('sky', 'ground')
palette = [[40 + 25 * (i % 8), 40 + 25 * (i // 8), 200 - 3 * i] for i in range(66)]
metainfo = dict(classes=classes, palette=palette[:len(classes)])

# Images twice as large, labels as they are: a quarter of the loss's work.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256)),
    dict(type='mmcontrast.LoadLabelMap'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')]

train_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo, pipeline=train_pipeline,
    data_prefix=dict(seg_map_path='ann_dir_pairs/train')))
val_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo,
    data_prefix=dict(seg_map_path='ann_dir_pairs/val')))
test_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo,
    data_prefix=dict(seg_map_path='ann_dir_pairs/test')))
