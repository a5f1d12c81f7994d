# Scenes of the toy world with captions of the whole image. The color-shape pairs in
# HELD_OUT_COMBINATIONS are neither shown nor named.
_base_ = './image_text.py'

train_pipeline = [
    dict(type='CropImage', size=128, scale=(0.9, 1.0)),
    dict(type='ChooseText'),
    dict(type='PackImageText')]
train_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='ShapesDataset', num_images=4000, split='train', combinations='seen',
        with_captions=True, cache=True, pipeline=train_pipeline))
