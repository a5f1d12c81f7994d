"""RefCOCO, RefCOCO+ and RefCOCOg joined, without the images of their test sets.

The other test sets: --cfg-options test_dataloader.dataset.split=SPLIT, one of
testA_refcoco_unc, testB_refcoco_unc, val_refcocoplus_unc, testA_refcocoplus_unc,
testB_refcocoplus_unc, val_refcocog_umd, test_refcocog_umd.
"""
_base_ = './propvg_beit3-base_4xb8-30e_refcoco-384x384.py'

phrases = dict(ann_file='annotations/mixed-seg/instances_nogoogle_withid.json')
train_dataloader = dict(dataset=phrases)
val_dataloader = dict(dataset=dict(phrases, split='val_refcoco_unc'))
test_dataloader = dict(dataset=dict(phrases, split='testA_refcoco_unc'))
