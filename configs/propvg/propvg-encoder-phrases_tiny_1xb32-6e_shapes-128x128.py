"""The toy world, second step: the encoder learns to read.

Which patches does a phrase mean? Batches of few images, with several phrases each. The
encoder comes from ``propvg-encoder-attributes_tiny_1xb32-24e_shapes-128x128.py``.
"""
_base_ = './propvg-encoder-attributes_tiny_1xb32-24e_shapes-128x128.py'

pretrained = ('work_dirs/propvg-encoder-attributes_tiny_1xb32-24e_shapes-128x128/'
              'epoch_24.pth')
model = dict(
    encoder=dict(init_cfg=dict(
        _delete_=True, type='Pretrained', checkpoint=pretrained, prefix='encoder.')),
    head=dict(attribute_weight=0.3))
train_dataloader = dict(
    dataset=dict(sentences='each'),
    sampler=dict(_delete_=True, type='PhraseGroupSampler', group_size=4))
max_epochs = 6
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=1))
