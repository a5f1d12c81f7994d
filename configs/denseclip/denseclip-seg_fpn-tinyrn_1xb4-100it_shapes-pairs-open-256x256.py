r"""The same, tested on scenes with pairs that never occurred in training.

    python tools/test.py THIS CHECKPOINT \
        --classes data/shapes_pairs_open/pair_classes.txt

The scenes: see docs/benchmarks/denseclip_small.md.
"""
_base_ = './denseclip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-256x256.py'

open_root = 'data/shapes_pairs_open/'
all_classes = _base_.classes + _base_.held_out
open_metainfo = dict(classes=all_classes, palette=_base_.palette)
val_dataloader = dict(dataset=dict(data_root=open_root, metainfo=open_metainfo))
test_dataloader = dict(dataset=dict(data_root=open_root, metainfo=open_metainfo))
test_evaluator = dict(
    _delete_=True, type='mmcontrast.GroupedIoUMetric', groups=dict(
        seen=_base_.classes[:-2], stuff=_base_.classes[-2:], held_out=_base_.held_out))
