# Pairs that tools/data/make_placement_pairs.py made: data/placement_{train,val}/.
train_pipeline = [
    dict(type='FlipPlacement', prob=0.5),
    dict(type='JitterObject'),
    # All backgrounds are inpainted. 'all' blurs those of users, too: the network has
    # never seen a sharp one.
    dict(type='PrepareTopNet', background_size=256, object_size=224, blur='all'),
    dict(type='PackPlacement')]
test_pipeline = train_pipeline[2:]
loader = dict(
    batch_size=8, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'))
train_dataloader = dict(
    loader, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='PlacementPairs', ann_file='pairs.json',
                 data_root='data/placement_train/', pipeline=train_pipeline))
val_dataloader = dict(
    loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='PlacementPairs', ann_file='pairs.json',
                 data_root='data/placement_val/', test_mode=True,
                 pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='PlacementIoU')
test_evaluator = val_evaluator
