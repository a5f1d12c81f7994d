# Linear probe on ImageNet as MoCo publishes it (CVPR 2020, section 4.1), by mmpretrain:
# SGD, no weight decay, a rate of 30, a tenth of it after 60 and 80 of 100 epochs.
_base_ = ['mmpretrain::mocov2/benchmarks/resnet50_8xb32-linear-steplr-100e_in1k.py']

# From tools/convert/export_backbone.py --to mmpretrain.
model = dict(backbone=dict(init_cfg=dict(
    _delete_=True, type='Pretrained', checkpoint='work_dirs/backbone.pth')))
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=100)
