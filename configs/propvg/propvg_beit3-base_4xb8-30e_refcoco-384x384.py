"""RefCOCO, split by UNC. Tested on testA; testB:
--cfg-options test_dataloader.dataset.split=testB
"""
_base_ = [
    '../_base_/models/propvg_beit3-base_refcoco.py',
    '../_base_/datasets/grounding_384.py', '../_base_/propvg_runtime_30e.py']

phrases = dict(ann_file='annotations/refcoco-unc/instances_withid.json')
train_dataloader = dict(dataset=phrases)
val_dataloader = dict(dataset=phrases)
test_dataloader = dict(dataset=dict(phrases, split='testA'))
