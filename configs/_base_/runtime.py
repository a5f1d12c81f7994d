# What every run shares: logging, checkpoints, seed, visualizer.
default_scope = 'mmcontrast'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', interval=1, max_keep_ckpts=3,
        # Written beside, then renamed: a run that dies leaves no half file.
        backend_args=dict(backend='atomic')),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint_keys=dict(type='CheckpointKeysHook'),
    # A log that cannot be written ends the run.
    disk_guard=dict(type='DiskGuardHook'),
    # SIGTERM and Ctrl-C: save at the next step, then exit.
    stop_signals=dict(type='StopSignalsHook'),
    # The first NaN stops the run and is named; skip=dict(budget=5) passes over some.
    nonfinite_guard=dict(type='NonFiniteGuardHook'))

env_cfg = dict(
    # Two views of one size through one network: the fastest algorithm stays so.
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

# seed=None draws one and logs it; deterministic=True costs speed on a GPU.
randomness = dict(seed=0, deterministic=False)

# Scalars go to work_dir/.../vis_data/scalars.json. For curves in a browser add
#   dict(type='TensorboardVisBackend')                       pip install tensorboard
#   dict(type='WandbVisBackend', init_kwargs=dict(project='mmcontrast'))
#                                                            pip install wandb
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
