"""Runtime of PropVG on RefCOCO, + and g: 30 epochs, the best by boxes and by masks."""
_base_ = './propvg_runtime.py'

max_epochs, milestones = 30, (21, 27)
param_scheduler = [
    dict(type='ConstantLR', factor=0.5, by_epoch=True, begin=0, end=2),
    dict(type='MultiStepLR', by_epoch=True, gamma=0.1,
         milestones=[milestones[0] - 1, milestones[1] - 1])]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(save_best=['REC/DetACC', 'RES/mIoU']))
