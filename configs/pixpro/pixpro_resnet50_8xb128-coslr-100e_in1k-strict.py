# The released recipe with the released code's way to make views: Pillow decodes in
# full, and color jitter runs image by image, in the loader. Slower.
_base_ = './pixpro_resnet50_8xb128-coslr-100e_in1k.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(_base_.train_pipeline[0], type='TwoViews', views='BYOL'),
    dict(type='PackViews')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
