# Image-text pairs from the toy world: regions of scenes and texts that describe them.
# The color-shape pairs in HELD_OUT_COMBINATIONS are neither shown nor named.
train_pipeline = [
    dict(type='CropRegion', size=64, margin=(1.05, 1.5),
         kinds=dict(object=0.8, stuff=0.1, scene=0.1)),
    dict(type='PackImageText')]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'),
    dataset=dict(
        type='ShapesDataset', num_images=4000, split='train', combinations='seen',
        with_regions=True, cache=True, pipeline=train_pipeline))

# Zero-shot: which of some texts fits an object or a scene that was never seen, with all
# pairs of color and shape.
val_pipeline = [
    dict(type='CropRegion', size=64, margin=(1.3, 1.3), centered=True,
         kinds=dict(object=1, scene=1)),
    dict(type='PackImageText')]
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='ShapesQuestions', num_images=200, split='val', cache=True,
                 pipeline=val_pipeline))
val_evaluator = dict(type='MultipleChoiceAccuracy')
val_cfg = dict()
test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='ShapesQuestions', num_images=600, split='test',
                 pipeline=val_pipeline))
test_evaluator = val_evaluator
test_cfg = dict()
