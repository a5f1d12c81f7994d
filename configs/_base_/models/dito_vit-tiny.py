"""A small DITO detector for images of 128 pixels, for a CPU."""
width = 128
# That of the toy pretraining at its end; CLIP's 0.01 takes many more steps.
temperature = 0.065
model = dict(
    type='mmcontrast.DITODetector',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255],
        bgr_to_rgb=True),
    # 8 x 8 patches; windows of 4 x 4, shifted by half of one.
    backbone=dict(
        type='PlainViT', layers=4, width=width, heads=4, patch_size=16, pos_grid=8,
        windows=(2, None), shift=2, conv_stem=True),
    neck=dict(
        type='SimpleFeaturePyramid', in_channels=width, out_channels=64,
        levels=(2, 3, 4)),
    rpn_head=dict(
        type='CenternessRPNHead', in_channels=64, feat_channels=64,
        strides=(4, 8, 16), anchor_scale=6),
    roi_head=dict(
        type='TextRoIHead', strides=(4, 8, 16), vlm_stride=16,
        bbox_head=dict(
            type='TextBoxHead', in_channels=64, num_convs=2, conv_channels=64,
            fc_channels=256, embed_dims=width, temperature_scale=temperature)),
    vlm=dict(windows=(2,)),
    text_encoder=dict(
        type='CLIPTextEncoder', embed_dims=width, width=64, heads=4, layers=2,
        context_length=48, vocab_size=49408),
    templates='name',
    train_cfg=dict(
        rpn=dict(num_samples=64, max_positives=32),
        rpn_proposal=dict(nms_pre=300, nms_iou=0.7, max_per_img=100),
        rcnn=dict(num_samples=48)),
    test_cfg=dict(
        rpn=dict(nms_pre=300, nms_iou=0.9, max_per_img=100),
        # Exponents chosen on validation scenes.
        rcnn=dict(max_per_img=50, vlm_temperature=temperature, base_weight=0.2,
                  novel_weight=0.2)))
