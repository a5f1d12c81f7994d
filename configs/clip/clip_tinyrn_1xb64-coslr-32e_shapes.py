# A small CLIP for the toy world: the pretrained towers of the debug configs of the
# language methods. Minutes on one CPU core.
_base_ = [
    './tinyrn.json', '../_base_/datasets/shapes_image_text.py',
    '../_base_/schedules/small_data.py', '../_base_/runtime.py',
    '../_base_/clip_pixels.py']

model = dict(
    type='CLIP',
    zero_init_residual=False,
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=_base_.clip_mean, std=_base_.clip_std),
    architecture=dict(
        embed_dim=_base_.embed_dim, quick_gelu=_base_.quick_gelu,
        vision_cfg=_base_.vision_cfg, text_cfg=_base_.text_cfg))
# Fused: the table of 49408 tokens is most of the parameters.
optim_wrapper = dict(optimizer=dict(lr=2e-3, fused=True))
train_cfg = dict(max_epochs=32, val_interval=4)
