"""The toy world, on both towers of the small CLIP of docs/toy_clip.md."""
_base_ = './denseclip-det_retinanet-tinyrn_1xb8-6e_shapes_debug.py'

# Written by tools/convert/export_clip.py.
pretrained = 'work_dirs/toy_clip/toy_clip.safetensors'
clip = dict(_delete_=True, type='CLIPPretrained', checkpoint=pretrained)
model = dict(backbone=dict(init_cfg=clip), text_encoder=dict(init_cfg=clip))
