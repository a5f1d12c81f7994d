"""Stage A on the toy world: a small ViT and the text tower of the small CLIP."""
_base_ = [
    '../_base_/datasets/shapes_image_text.py', '../_base_/schedules/small_data.py',
    '../_base_/image_text_runtime.py']

width = 128
toy_clip = 'work_dirs/toy_clip/toy_clip.safetensors'
model = dict(
    type='DITOPretraining',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255]),
    # Images of 64 pixels have 4 x 4 patches, one window of the detector.
    backbone=dict(
        type='PlainViT', layers=4, width=width, heads=4, patch_size=16, pos_grid=8,
        conv_stem=True),
    positions=dict(type='CroppedPositions'),
    text_encoder=dict(
        type='CLIPTextEncoder', embed_dims=width, width=64, heads=4, layers=2,
        context_length=48, vocab_size=49408, frozen=True,
        init_cfg=dict(type='CLIPPretrained', checkpoint=toy_clip)))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# Captions name all pairs of color and shape; those that are `held_out` in the scores
# of the validation are the ones without boxes later.
train_dataloader = dict(dataset=dict(combinations='all'))
train_cfg = dict(max_epochs=40, val_interval=8)
