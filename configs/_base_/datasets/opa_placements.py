# OPA for TopNet: data/OPA/{background,foreground}, train_set.csv, test_set.csv.
data_root = 'data/OPA/'
train_pipeline = [
    dict(type='FlipPlacement', prob=0.5),
    dict(type='PrepareTopNet', background_size=256, object_size=224),
    dict(type='PackPlacement')]
test_pipeline = train_pipeline[1:]
loader = dict(
    batch_size=8, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'))
train_dataloader = dict(
    loader, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='OPAComposites', ann_file='train_set.csv', data_root=data_root,
                 positives_only=True, pipeline=train_pipeline))
# All labels: F1 and balanced accuracy also count the pairs with negatives alone, the
# other metrics leave them out.
val_dataloader = dict(
    loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='OPAComposites', ann_file='test_set.csv', data_root=data_root,
                 test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [dict(type='PlacementIoU', per_truth=True), dict(type='OPAMetric')]
test_evaluator = val_evaluator
