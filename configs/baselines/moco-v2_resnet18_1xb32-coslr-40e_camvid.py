# MoCo v2 (mmpretrain) on the 367 training frames of CamVid.
_base_ = '../_base_/camvid_mmpretrain.py'

model = dict(
    type='mmpretrain.MoCo',
    # 65536 in the paper, of 1.3 million images. Here a longer queue would hold every
    # image several times, as a negative of itself.
    queue_len=256,
    feat_dim=128,
    # 0.001 in the paper: the key encoder would stay at its random start for 440 steps.
    momentum=0.01,
    neck=dict(
        type='mmpretrain.MoCoV2Neck', in_channels=512, hid_channels=512,
        out_channels=128, with_avg_pool=True),
    head=dict(
        type='mmpretrain.ContrastiveHead', temperature=0.2,
        loss=dict(type='mmpretrain.CrossEntropyLoss')))
