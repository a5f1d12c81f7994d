"""Ref-ZOM: phrases for one object, for several and for none."""
_base_ = [
    '../_base_/models/propvg_beit3-base.py', '../_base_/datasets/grounding_320.py',
    '../_base_/propvg_runtime.py']

# As the released code tests Ref-ZOM and R-RefCOCO.
model = dict(head=dict(existence_top_k=100))
files = dict(
    ann_file='annotations/ref-zom/instance_withid.json',
    foreground='annotations/ref-zom/allobj.json',
    data_prefix=dict(img_path='images/mscoco/trainval2014/'))
train_dataloader = dict(dataset=files)
# Its only other split.
val_dataloader = dict(dataset=dict(files, split='test'))
test_dataloader = dict(dataset=dict(files, split='test'))
val_evaluator = dict(type='RefZOMMetric')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best=['RefZOM/mIoU', 'RefZOM/Acc']))
