"""R-RefCOCO: true and false sentences about one object. R-RefCOCO+ and R-RefCOCOg:
--cfg-options test_dataloader.dataset.split=val_rrefcoco+
--cfg-options test_dataloader.dataset.split=val_rrefcocog
"""
_base_ = [
    '../_base_/models/propvg_beit3-base.py', '../_base_/datasets/grounding_320.py',
    '../_base_/propvg_runtime.py']

# As the released code tests Ref-ZOM and R-RefCOCO.
model = dict(head=dict(existence_top_k=100))
files = dict(ann_file='annotations/rrefcoco/instance_withid.json',
             foreground='annotations/rrefcoco/allobj.json')
train_dataloader = dict(dataset=files)
# Not evaluated in training. The index says which sentences are about one object.
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = dict(dataset=dict(
    files, split='val_rrefcoco', index='annotations/rrefcoco/instance_index.json'))
test_evaluator = dict(type='RRefCOCOMetric')
