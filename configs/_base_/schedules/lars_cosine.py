# LARS and the warm-up with cosine of PixPro and SlotCon; the config that inherits this
# sets optim_wrapper.optimizer.lr and train_cfg.max_epochs.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TwoGroupConstructor',
    optimizer=dict(
        type='LARS', lr=1.0, momentum=0.9, weight_decay=1e-5, trust_coef=1e-3,
        eps=1e-8))
param_scheduler = dict(
    type='WarmupCosineLR',
    warmup=5,          # epochs
    multiplier=100,    # the first iteration uses a hundredth of the peak
    eta_min=1e-6,
    by_epoch=True,
    convert_to_iter_based=True)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
