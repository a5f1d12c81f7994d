# Phrases of the toy world for one object, for several and for none.
pipeline = [
    dict(type='LoadGroundingImage'),
    dict(type='LoadGroundingAnnotations', with_mask=True),
    dict(type='ResizeGrounding', scale=128),
    dict(type='PackGrounding')]
loader = dict(
    batch_size=32, collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'))
# All visible objects are foreground, of any size.
dataset = dict(type='ShapesGrounding', size=128, cache=True, pipeline=pipeline)
# Kept scenes are ready sooner than another process could send them.
train_dataloader = dict(
    loader, num_workers=0, drop_last=True,
    # Several phrases of an image in one batch: learns to read in fewer steps.
    sampler=dict(type='PhraseGroupSampler', group_size=4),
    collate_fn=dict(type='mmcontrast.collate_phrases'),
    dataset=dict(dataset, num_images=4000, split='train', sentences='each'))
val_dataloader = dict(
    loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, num_images=100, split='val', test_mode=True))
test_dataloader = dict(
    loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, num_images=500, split='test', test_mode=True))
# Of all phrases as on gRefCOCO, and of each kind.
val_evaluator = [
    dict(type='GRECMetric'), dict(type='GRESMetric'),
    dict(type='MetricsByTargets', one=[dict(type='RECMetric'), dict(type='RESMetric')],
         several=[dict(type='GRECMetric')])]
test_evaluator = val_evaluator
