# Linear probe on ImageNet with the settings of SimSiam (CVPR 2021), as mmpretrain has
# them: LARS with a rate of 0.1 per 256 images, batches of 4096, cosine over 90 epochs.
_base_ = ['mmpretrain::simsiam/benchmarks/resnet50_8xb512-linear-coslr-90e_in1k.py']

# From tools/convert/export_backbone.py --to mmpretrain.
model = dict(backbone=dict(init_cfg=dict(
    _delete_=True, type='Pretrained', checkpoint='work_dirs/backbone.pth')))
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=90)
