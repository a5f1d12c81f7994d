# Phrases about images of COCO, 320 pixels, in the files of PropVG's authors, which
# tools/data/prepare_grounding.py also writes from the official ones. A benchmark's
# config adds its files.
data_root = 'data/seqtr_type/'
image_size = 320
# No augmentation, as in the released code: a mirrored image makes 'left' wrong.
pipeline = [
    dict(type='LoadGroundingImage'),
    dict(type='LoadGroundingAnnotations', with_mask=True),
    dict(type='ResizeGrounding', scale=image_size),
    dict(type='PackGrounding')]
loader = dict(
    batch_size=16, num_workers=4, persistent_workers=True, pin_memory=True,
    collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='mmcontrast.seed_worker'))
# Objects below 5 % or above 80 % of the image are background, unless a phrase means
# them. Training draws one sentence of a record at each visit, a test takes each.
dataset = dict(
    type='GroundingDataset', data_root=data_root,
    data_prefix=dict(img_path='images/mscoco/train2014/'),
    min_area=100, area_share=(0.05, 0.8), pipeline=pipeline)
train_dataloader = dict(
    loader, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, split='train'))
val_dataloader = dict(
    loader, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, split='val', test_mode=True))
test_dataloader = val_dataloader
