# ImageNet-1k, 1281167 images in data/imagenet/train/<class>/<file>.JPEG.
train_pipeline = [
    dict(type='LoadImage'),
    # Crop and flip with exact bookkeeping, then the BYOL recipe of PixPro and SlotCon.
    dict(type='TwoViews', size=224, scale=(0.08, 1.0), interpolation='bilinear',
         views='BYOL'),
    dict(type='PackViews')]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,  # a small last batch would disturb the batch statistics
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'),
    dataset=dict(
        type='UnlabelledImages',
        data_root='data/imagenet',
        data_prefix=dict(img_path='train'),
        pipeline=train_pipeline))
