"""PlainViT and the pyramid in unmodified models of mmdet and mmseg."""
import pytest
import torch

from mmcontrast.models import PlainViT
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

SIZES = dict(layers=3, width=32, heads=2, pos_grid=4)
VIT = dict(type='mmcontrast.PlainViT', **SIZES, windows=(2, 2, None), shift=1)
NECK = dict(type='mmcontrast.SimpleFeaturePyramid', in_channels=32, out_channels=16)


def faster_rcnn() -> dict:
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5,
                    min_pos_iou=0.3)
    sampler = dict(type='RandomSampler', num=16, pos_fraction=0.5,
                   add_gt_as_proposals=True)
    nms = dict(type='nms', iou_threshold=0.7)
    coder = dict(type='DeltaXYWHBBoxCoder')
    return dict(
        type='FasterRCNN', backbone=VIT, neck=dict(NECK, levels=(2, 3, 4, 5, 6)),
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=NORM, std=STD, bgr_to_rgb=True),
        rpn_head=dict(
            type='RPNHead', in_channels=16, feat_channels=16, bbox_coder=coder,
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1.0],
                                  strides=[4, 8, 16, 32, 64]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss')),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor', out_channels=16,
                featmap_strides=[4, 8, 16, 32],
                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
            bbox_head=dict(
                type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16,
                num_classes=3, bbox_coder=coder,
                loss_cls=dict(type='CrossEntropyLoss'),
                loss_bbox=dict(type='L1Loss'))),
        train_cfg=dict(
            rpn=dict(assigner=assigner, pos_weight=-1, allowed_border=-1,
                     sampler=dict(sampler, add_gt_as_proposals=False)),
            rpn_proposal=dict(nms_pre=50, max_per_img=20, nms=nms, min_bbox_size=0),
            rcnn=dict(assigner=assigner, sampler=sampler, pos_weight=-1)),
        test_cfg=dict(
            rpn=dict(nms_pre=50, max_per_img=20, nms=nms, min_bbox_size=0),
            rcnn=dict(score_thr=0.0, max_per_img=10, nms=nms)))


def test_a_faster_rcnn_trains_and_predicts_at_any_size():
    model = build('mmdet', faster_rcnn())
    # 70 x 90: neither whole patches nor whole windows.
    data = detection_batch(70, 90)
    step_lowers_the_loss(model, data)
    found = model.eval().test_step(data)[0].pred_instances
    assert len(found) == 10
    assert found.bboxes[:, 2].max() <= 90 and found.bboxes[:, 3].max() <= 70


def segmentor(head: dict) -> dict:
    return dict(
        type='EncoderDecoder', backbone=VIT, neck=NECK,
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=NORM, std=STD, bgr_to_rgb=True,
            size=(64, 64), pad_val=0, seg_pad_val=255),
        decode_head=dict(
            in_channels=[16] * 4, in_index=[0, 1, 2, 3], channels=16, num_classes=3,
            norm_cfg=dict(type='BN'), align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False), **head),
        test_cfg=dict(mode='whole'))


@pytest.mark.parametrize('head', [
    dict(type='FPNHead', feature_strides=[4, 8, 16, 32]),
    dict(type='UPerHead', pool_scales=(1, 2))], ids=['FPN', 'UPerNet'])
def test_a_segmentor_trains_and_predicts_at_any_size(head):
    model = build('mmseg', segmentor(head))
    step_lowers_the_loss(model, segmentation_batch(64, 64))
    found = model.eval().test_step(blank_images(70, 100))
    assert found[0].pred_sem_seg.data.shape == (1, 70, 100)


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_weights_are_loaded_by_init_cfg_in_the_scope_of_either_library(scope, tmp_path):
    import timm
    torch.manual_seed(1)
    theirs = timm.models.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=3, num_heads=2, num_classes=0)
    torch.save(theirs.state_dict(), tmp_path / 'vit.pth')
    model = segmentor(dict(type='FPNHead', feature_strides=[4, 8, 16, 32]))
    model = faster_rcnn() if scope == 'mmdet' else model
    init = dict(type='TimmPretrained', checkpoint=str(tmp_path / 'vit.pth'))
    model = build(scope, dict(model, backbone=dict(VIT, init_cfg=init)))
    wanted = PlainViT(**SIZES)
    wanted.load_timm(theirs.state_dict())
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, wanted.state_dict()[key]), key
