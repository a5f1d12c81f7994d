# What pretraining on image-text pairs reads alike; a set names its files on top.
train_pipeline = [
    dict(type='LoadImage'),
    # open_clip's: at least 90 % of the image, so that the caption stays true.
    dict(type='CropImage', size=224, scale=(0.9, 1.0)),
    # One of several captions, another one in every epoch.
    dict(type='ChooseText'),
    dict(type='PackImageText')]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'),
    dataset=dict(type='ImageTextPairs', pipeline=train_pipeline))
