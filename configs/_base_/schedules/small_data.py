# Short runs on few images: AdamW instead of LARS, whose layer-wise rates are made for
# batches of a thousand and a hundred thousand steps. Let the momentum start at 0.95
# then (default_hooks.momentum.start): a momentum encoder at 0.99 lags behind a run of
# some hundred.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TwoGroupConstructor',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4))
param_scheduler = dict(
    type='WarmupCosineLR', warmup=1, multiplier=100, eta_min=1e-6,
    by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10)
