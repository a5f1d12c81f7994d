"""Road scenes of CamVid on a CPU, without class texts, images at half size."""
_base_ = ['../_base_/clip_seg_tiny.py', '../_base_/datasets/camvid_seg.py']

scale, crop_size = (240, 180), (160, 160)
train_pipeline, test_pipeline, tta_pipeline = (
    _base_.train_pipeline, _base_.test_pipeline, _base_.tta_pipeline)
train_pipeline[2].update(scale=scale, ratio_range=(1.0, 1.5))
train_pipeline[3].update(crop_size=crop_size)
test_pipeline[1].update(scale=scale)
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(240 * r), int(180 * r)), keep_ratio=True)
    for r in (0.75, 1.0, 1.25)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
model = dict(
    data_preprocessor=dict(size=crop_size, seg_pad_val=_base_.ignore_index),
    decode_head=dict(
        num_classes=len(_base_.classes), ignore_index=_base_.ignore_index,
        loss_decode=loss))
# Real images are far from those that the small CLIP was trained on.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))))
