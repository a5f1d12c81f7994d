# The same with images of 384 pixels: RefCOCO, + and g, whose phrases mean one object.
_base_ = './grounding_320.py'

image_size = 384
pipeline = [
    dict(type='LoadGroundingImage'),
    dict(type='LoadGroundingAnnotations', with_mask=True),
    dict(type='ResizeGrounding', scale=image_size),
    dict(type='PackGrounding')]
# All configs of this family take the foreground objects of the joined set.
changes = dict(batch_size=8, dataset=dict(
    foreground='annotations/mixed-seg/coco_all.json', pipeline=pipeline))
train_dataloader = changes
val_dataloader = changes
test_dataloader = changes
val_evaluator = [dict(type='RECMetric'), dict(type='RESMetric')]
test_evaluator = val_evaluator
