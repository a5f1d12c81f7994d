"""Stage B on the toy world: pyramid and box head on random regions."""
_base_ = './dito-pretrain-images_vit-tiny_1xb32-10e_shapes.py'

width = 128
load_from = 'work_dirs/dito_images/epoch_10.pth'
model = dict(
    neck=dict(
        type='SimpleFeaturePyramid', in_channels=width, out_channels=64,
        levels=(2, 3, 4)),
    box_head=dict(
        type='TextBoxHead', num_convs=2, conv_channels=64, fc_channels=256),
    regions=dict(type='RandomRegions', counts=(32, 8, 2)))
train_cfg = dict(max_epochs=5)
