"""Stage B on the toy world: pyramid and box head on regions, all else frozen."""
_base_ = './dito-pretrain-images_vit-tiny_1xb64-40e_shapes.py'

width = 128
load_from = 'work_dirs/dito_images/epoch_40.pth'
model = dict(
    backbone=dict(frozen=True),
    neck=dict(
        type='SimpleFeaturePyramid', in_channels=width, out_channels=64,
        levels=(2, 3, 4)),
    box_head=dict(
        type='TextBoxHead', num_convs=2, conv_channels=64, fc_channels=256),
    # An image shows one object. Regions of this size hold most of it, as the boxes of
    # the detector do.
    regions=dict(type='RandomRegions', counts=(8, 4, 1), min_size=0.75), pool='mean')
train_cfg = dict(max_epochs=3, val_interval=3)
