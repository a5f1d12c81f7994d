# Placement pairs of the toy world: scenes without an object, and its true box alone.
train_pipeline = [
    dict(type='FlipPlacement', prob=0.5),
    dict(type='PrepareTopNet', background_size=128, object_size=64, blur='none'),
    dict(type='PackPlacement')]
test_pipeline = train_pipeline[1:]
loader = dict(
    batch_size=32, collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'))
train_dataloader = dict(
    loader, num_workers=1, persistent_workers=True, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ShapesPlacements', num_pairs=4000, split='train', cache=True,
                 pipeline=train_pipeline))
val_dataloader = dict(
    loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ShapesPlacements', num_pairs=300, split='val', labels='all',
                 cache=True, test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(
    loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ShapesPlacements', num_pairs=1000, split='test', labels='all',
                 test_mode=True, pipeline=test_pipeline))
val_evaluator = [
    dict(type='PlacementIoU'), dict(type='OPAMetric'), dict(type='ToyPlausibility')]
test_evaluator = val_evaluator
