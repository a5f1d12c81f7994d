# The per-image chain of the released codes, in the loader: Pillow decodes in full, and
# color jitter runs image by image. Slower, the same distribution.
_base_ = './two_views.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(_base_.train_pipeline[0], type='TwoViews', views='BYOL'),
    dict(type='PackViews')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
