# BYOL (mmpretrain) on the 367 training frames of CamVid.
_base_ = '../_base_/camvid_mmpretrain.py'

mlp = dict(
    type='mmpretrain.NonLinearNeck', hid_channels=1024, out_channels=256, num_layers=2,
    with_bias=True, with_last_bn=False)
model = dict(
    type='mmpretrain.BYOL',
    # Of the new weights; falls along a cosine to 0, as MomentumHook does for ours.
    base_momentum=0.05,
    neck=dict(in_channels=512, with_avg_pool=True, **mlp),
    head=dict(
        type='mmpretrain.LatentPredictHead',
        loss=dict(type='mmpretrain.CosineSimilarityLoss'),
        predictor=dict(in_channels=256, with_avg_pool=False, **mlp)))
