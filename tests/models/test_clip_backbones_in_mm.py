"""CLIP's image towers as plain backbones of unmodified mmseg and mmdet models."""
import pytest
import torch
from mmengine.registry import MODELS

from tests.helpers.mm_models import (
    NORM,
    STD,
    blank_images,
    build,
    detection_batch,
    segmentation_batch,
    step_lowers_the_loss,
)

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytestmark = pytest.mark.usefixtures('scope_as_it_was')

RESNET = dict(type='mmcontrast.CLIPResNet', layers=(1, 1, 1, 1), width=16)
VIT = dict(type='mmcontrast.CLIPVisionTransformer', layers=2, width=32, embed_dims=16)
WIDTHS = {'ResNet': [64, 128, 256, 512], 'ViT': [32] * 4}
each_tower = pytest.mark.parametrize(
    ('backbone', 'widths'), [(RESNET, WIDTHS['ResNet']), (VIT, WIDTHS['ViT'])],
    ids=['ResNet', 'ViT'])


def segmentor(backbone: dict, widths: list) -> dict:
    return dict(
        type='EncoderDecoder', backbone=backbone,
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=NORM, std=STD, bgr_to_rgb=True,
            size=(64, 64), pad_val=0, seg_pad_val=255),
        neck=dict(type='FPN', in_channels=widths, out_channels=16, num_outs=4),
        decode_head=dict(
            type='FPNHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32], channels=16, num_classes=3,
            norm_cfg=dict(type='BN'), align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False)),
        test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(40, 40)))


@each_tower
def test_an_mmseg_segmentor_trains_and_slides(backbone, widths):
    model = build('mmseg', segmentor(backbone, widths))
    step_lowers_the_loss(model, segmentation_batch(64, 64))
    found = model.test_step(blank_images(80, 112))
    assert found[0].pred_sem_seg.data.shape == (1, 80, 112)


def retinanet(backbone: dict, widths: list) -> dict:
    return dict(
        type='RetinaNet', backbone=backbone,
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=NORM, std=STD, bgr_to_rgb=True,
            pad_size_divisor=32),
        neck=dict(type='FPN', in_channels=widths, out_channels=16, start_level=1,
                  add_extra_convs='on_input', num_outs=5),
        bbox_head=dict(
            type='RetinaHead', num_classes=3, in_channels=16, stacked_convs=1,
            feat_channels=16,
            anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss')),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                          min_pos_iou=0),
            sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1),
        test_cfg=dict(nms_pre=100, score_thr=0.0, max_per_img=10, min_bbox_size=0,
                      nms=dict(type='nms', iou_threshold=0.5)))


@each_tower
def test_an_mmdet_detector_trains_and_predicts(backbone, widths):
    model = retinanet(backbone, widths)
    if backbone is VIT:
        # RetinaNet reads no map of stride 4; a tap for it would never learn.
        model['backbone'] = dict(VIT, strides=(8, 16, 32))
        model['neck'].update(in_channels=widths[1:], start_level=0)
    model = build('mmdet', model)
    data = detection_batch(70, 90)
    step_lowers_the_loss(model, data)
    found = model.test_step(data)[0].pred_instances
    assert len(found) == 10 and found.bboxes[:, 2].max() <= 90


def test_init_cfg_fills_the_backbone_from_a_clip_file(tmp_path):
    torch.manual_seed(1)
    source = MODELS.build(dict(
        RESNET, type='mmcontrast.CLIPResNetWithAttention', embed_dims=16))
    path = tmp_path / 'clip.pt'
    torch.save({f'visual.{key}': value for key, value in source.state_dict().items()},
               path)
    model = build('mmseg', segmentor(
        dict(RESNET, init_cfg=dict(type='CLIPPretrained', checkpoint=str(path))),
        WIDTHS['ResNet']))
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key
