# The runtime of two-view pretraining.
_base_ = './runtime.py'

# By name, so that a config with custom_hooks of its own keeps them.
default_hooks = dict(
    # The coefficient of the momentum encoder rises from 0.99 to 1 over the run.
    momentum=dict(type='MomentumHook', start=0.99, end=1.0),
    monitor=dict(type='PretrainMonitorHook'),
    bad_images=dict(type='BadImagesHook'),
    # Resuming continues where a run was in its tar shards; nothing for other data.
    shard_position=dict(type='ShardPositionHook'))
