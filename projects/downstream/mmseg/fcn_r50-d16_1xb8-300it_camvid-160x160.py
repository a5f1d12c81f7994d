"""The small CamVid FCN with a ResNet-50: about three times the work of ResNet-18."""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-160x160.py'

model = dict(
    # The pretrained ResNet-50s have stride 32: dilation keeps their receptive field.
    backbone=dict(depth=50, dilations=(1, 1, 1, 2)),
    decode_head=dict(in_channels=2048))
