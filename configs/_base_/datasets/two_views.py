# What all two-view pretraining reads alike; a set names its images on top.
train_pipeline = [
    # Decode, crop and flip in bytes, with exact bookkeeping. Colors follow in batches
    # on the training device: model.data_preprocessor.photometric.
    dict(type='FastTwoViews', size=224, scale=(0.08, 1.0), interpolation='bilinear'),
    dict(type='PackViews')]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,  # a small last batch would disturb the batch statistics
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'),
    dataset=dict(type='UnlabeledImages', pipeline=train_pipeline))
