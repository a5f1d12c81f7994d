# The runtime of pretraining on image-text pairs.
_base_ = './runtime.py'

# By name, so that a config with custom_hooks of its own keeps them.
default_hooks = dict(
    # WORK_DIR/bad_images.txt lists pairs that were skipped or replaced, with a reason.
    bad_images=dict(type='BadImagesHook'),
    # Resuming continues where a run was in its tar shards; nothing for other data.
    shard_position=dict(type='ShardPositionHook'))
