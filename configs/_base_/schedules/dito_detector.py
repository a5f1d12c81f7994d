# SGD schedule of DITO's detectors at batch 256: 100 epochs of COCO. A config with
# another length repeats the milestones, 80, 90 and 95 % of it.
max_iters = 46100
base_lr = 0.18
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=base_lr, momentum=0.9))
param_scheduler = [
    # 1000 steps of equal size: the rate is base_lr in iteration 1000, counted from 0.
    dict(type='LinearLR', start_factor=0.0032 / base_lr, by_epoch=False, end=1001),
    dict(type='MultiStepLR', by_epoch=False, gamma=0.1,
         milestones=[max_iters * percent // 100 for percent in (80, 90, 95)])]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
