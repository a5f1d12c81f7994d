# DenseCL (mmpretrain) on the 367 training frames of CamVid.
_base_ = './moco-v2_resnet18_1xb32-coslr-40e_camvid.py'

model = dict(
    type='mmpretrain.DenseCL',
    loss_lambda=0.5,
    neck=dict(
        _delete_=True, type='mmpretrain.DenseCLNeck', in_channels=512,
        hid_channels=512, out_channels=128, num_grid=None))
