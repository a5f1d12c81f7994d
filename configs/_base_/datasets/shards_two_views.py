# Tar shards (WebDataset), from tools/data/make_shards.py or your own: name them here or
# with --cfg-options train_dataloader.dataset.shards=PATTERN.
_base_ = './two_views.py'

train_dataloader = dict(
    # Shards in random order, images mixed among their 10000 neighbors, split by rank.
    sampler=dict(type='ShardSampler', buffer_size=10000),
    dataset=dict(type='ShardedImages', shards='data/shards/*.tar'))
