"""The small CamVid FCN with few labels: every 10th frame, 37 of 367."""
_base_ = './fcn_r18-d16_1xb8-300it_camvid-160x160.py'

train_dataloader = dict(dataset=dict(indices=list(range(0, 367, 10))))
