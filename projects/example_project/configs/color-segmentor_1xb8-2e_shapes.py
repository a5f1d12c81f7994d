# The classes of the toy world (docs/toy_world.md), by color and height alone.
_base_ = 'mmcontrast::_base_/runtime.py'
custom_imports = dict(imports=['color_segmentation'])

pixels = dict(type='ImgDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)
model = dict(type='ColorSegmentor', num_classes=10, data_preprocessor=pixels)

shapes = dict(type='ShapesDataset', size=64, with_annotations=True,
              pipeline=[dict(type='PackLabels')])
train_dataloader = dict(
    batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(num_images=64, split='train', **shapes))
test_dataloader = dict(
    batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(num_images=16, split='test', **shapes))
test_evaluator = dict(type='PixelAccuracy')

optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.1))
train_cfg = dict(by_epoch=True, max_epochs=2)
test_cfg = dict()
default_hooks = dict(class_colors=dict(type='ClassColorsHook'))
