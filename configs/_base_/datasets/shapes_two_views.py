# The embedded toy world, drawn while it is read: no files.
_base_ = './two_views.py'

train_pipeline = [dict(type='FastTwoViews', size=128), dict(type='PackViews')]
train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='ShapesDataset',
    num_images=2000,
    split='train',
    size=128,
    cache=True,
    pipeline=train_pipeline))
