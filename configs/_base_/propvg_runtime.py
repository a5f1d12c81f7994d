"""Runtime of PropVG: Adam, a tenth of the rate for the encoder, steps by epochs."""
_base_ = './runtime.py'

max_epochs, milestones = 12, (7, 11)
# As the released code: Adam without weight decay, and a low limit of the gradient norm.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=5e-4, betas=(0.9, 0.98), eps=1e-9, amsgrad=True,
                   fused=True),
    paramwise_cfg=dict(custom_keys=dict(encoder=dict(lr_mult=0.1))),
    clip_grad=dict(max_norm=0.15))
# Half the rate in the first epoch; a tenth from the seventh epoch on, and again from
# the eleventh.
param_scheduler = [
    dict(type='ConstantLR', factor=0.5, by_epoch=True, begin=0, end=2),
    dict(type='MultiStepLR', by_epoch=True, gamma=0.1,
         milestones=[milestones[0] - 1, milestones[1] - 1])]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# Samples with a damaged image are replaced and listed.
default_hooks = dict(
    bad_images=dict(type='BadImagesHook'), checkpoint=dict(rule='greater'),
    # Batch norms of the mask branch are those of one rank: averaged after each epoch,
    # so that all ranks validate the model that is saved.
    buffers=dict(type='SyncBuffersHook'))
# Not deterministic=True: some backward passes of a GPU have no such form. The released
# code only fixes the algorithms of cuDNN.
randomness = dict(seed=6666)
env_cfg = dict(cudnn_benchmark=False)
