"""gRefCOCO: phrases for one object, for several and for none. Tested on testA; testB:
--cfg-options test_dataloader.dataset.split=testB
"""
_base_ = [
    '../_base_/models/propvg_beit3-base.py', '../_base_/datasets/grounding_320.py',
    '../_base_/propvg_runtime.py']

phrases = dict(ann_file='annotations/grefs/instances.json',
               foreground='annotations/grefs/coco_annotations.json')
train_dataloader = dict(dataset=phrases)
val_dataloader = dict(dataset=phrases)
test_dataloader = dict(dataset=dict(phrases, split='testA'))
val_evaluator = [dict(type='GRECMetric'), dict(type='GRESMetric')]
# Methods differ in how their scores are calibrated, so other thresholds, too.
thresholds = [0.5, 0.6, 0.7, 0.8, 0.9]
test_evaluator = [dict(type='GRECMetric', score_thr=thresholds),
                  dict(type='GRESMetric', score_thr=thresholds)]
default_hooks = dict(checkpoint=dict(save_best=['GREC/F1score', 'GRES/cIoU']))
