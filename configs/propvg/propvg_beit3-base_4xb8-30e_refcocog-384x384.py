"""RefCOCOg, split by UMD."""
_base_ = './propvg_beit3-base_4xb8-30e_refcoco-384x384.py'

phrases = dict(ann_file='annotations/refcocog-umd/instances_withid.json')
train_dataloader = dict(dataset=phrases)
val_dataloader = dict(dataset=phrases)
test_dataloader = dict(dataset=dict(phrases, split='test'))
