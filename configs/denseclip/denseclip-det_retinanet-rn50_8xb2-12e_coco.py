"""RetinaNet guided by the names of COCO's classes, on both towers of CLIP's RN50."""
_base_ = './clip-det_retinanet-rn50_8xb2-12e_coco.py'

model = dict(
    type='mmcontrast.DenseCLIPSingleStage',
    # Class counts of heads and neck follow from the list.
    class_names='coco',
    backbone=dict(
        type='mmcontrast.CLIPResNetWithAttention', pos_mode='crop',
        # Positions for 42 x 42 cells of stride 32: the longest side, 1333, padded.
        input_size=1344),
    text_encoder=dict(
        type='CLIPTextEncoder', tower='RN50',
        init_cfg=dict(type='CLIPPretrained', checkpoint=_base_.pretrained)),
    context_decoder=dict(type='ContextDecoder'))
