"""DITO's detector on ViT-B/16, as released: Mask R-CNN classified by texts.

The network sees pixels in [0, 1]; padding has CLIP's mean color.
"""
width, embed_dims = 768, 768
# Images of 1024 pixels have 64 x 64 tokens, so windows of 16 x 16; DITO shifts by half
# of one.
shift = 1024 // 16 // 4 // 2

model = dict(
    type='mmcontrast.DITODetector',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255],
        bgr_to_rgb=True, pad_mask=True),
    backbone=dict(
        type='PlainViT', layers=12, width=width, patch_size=16,
        windows=(4, 4, None), shift=shift),
    neck=dict(type='SimpleFeaturePyramid', in_channels=width),
    rpn_head=dict(type='CenternessRPNHead'),
    roi_head=dict(
        type='TextRoIHead',
        bbox_head=dict(type='TextBoxHead', embed_dims=embed_dims),
        mask_head=dict(type='NormedMaskHead')),
    # The frozen copy; only its last block attends globally.
    vlm=dict(windows=(4,) * 11 + (None,)),
    text_encoder=dict(type='CLIPTextEncoder', tower='ViT-L-14'),
    train_cfg=dict(
        rpn=dict(), rpn_proposal=dict(nms_pre=2000, nms_iou=0.7, max_per_img=1000),
        rcnn=dict()),
    test_cfg=dict(
        rpn=dict(nms_pre=2000, nms_iou=1.0, max_per_img=1000),
        rcnn=dict(max_per_img=300)))
