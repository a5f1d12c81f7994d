# Tar shards (WebDataset) of images with a .txt or .json each, e.g. from img2dataset:
# name them here or with --cfg-options train_dataloader.dataset.shards=PATTERN.
_base_ = './image_text.py'

train_dataloader = dict(
    # Shards in random order, images mixed among their 10000 neighbors, split by rank.
    sampler=dict(type='ShardSampler', buffer_size=10000),
    dataset=dict(type='ShardedPairs', shards='data/pairs/*.tar'))
