"""tools/infer.py on plain models of mmseg and mmdet, and the results it writes."""
import json
import os

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from PIL import Image

pytest.importorskip('mmseg')
pytest.importorskip('mmdet')
from pycocotools import mask as coco_mask  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402

from mmcontrast.apis import infer
from mmcontrast.apis.inferencers import (
    Detection,
    DetectorInferencer,
    Segmentation,
    SegmentorInferencer,
    open_inferencer,
)
from mmcontrast.apis.inferencers.results import coco_dataset
from mmcontrast.io.folders import list_files

pytestmark = pytest.mark.usefixtures('scope_as_it_was')

BACKBONE = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4,
                norm_cfg=dict(type='BN'))
PIXELS = dict(mean=[120.] * 3, std=[60.] * 3, bgr_to_rgb=True)
FCN = dict(
    type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', **PIXELS),
    backbone=dict(type='ResNetV1c', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
                  **{k: v for k, v in BACKBONE.items() if k != 'type'}),
    decode_head=dict(type='FCNHead', in_channels=32, channels=8, num_convs=1,
                     num_classes=3), train_cfg=dict(), test_cfg=dict(mode='whole'))
ANCHORS = dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[8, 16])
CODER = dict(type='DeltaXYWHBBoxCoder')
NMS = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)
RETINANET = dict(
    type='RetinaNet', data_preprocessor=dict(type='DetDataPreprocessor', **PIXELS),
    backbone=dict(BACKBONE, out_indices=(1, 2)),
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8,
        stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER),
    test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.0, **NMS))
ROI = dict(type='SingleRoIExtractor', out_channels=8, featmap_strides=[8, 16])
MASK_RCNN = dict(
    type='MaskRCNN', data_preprocessor=dict(
        type='DetDataPreprocessor', pad_mask=True, **PIXELS),
    backbone=RETINANET['backbone'], neck=RETINANET['neck'],
    rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8,
                  anchor_generator=ANCHORS, bbox_coder=CODER),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(ROI, roi_layer=dict(type='RoIAlign', output_size=3)),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=8,
                       roi_feat_size=3, num_classes=3, bbox_coder=CODER),
        mask_roi_extractor=dict(ROI, roi_layer=dict(type='RoIAlign', output_size=4)),
        mask_head=dict(type='FCNMaskHead', num_convs=1, in_channels=8,
                       conv_out_channels=8, num_classes=3)),
    train_cfg=dict(rpn=dict(), rcnn=dict()),
    test_cfg=dict(
        rpn=dict(nms_pre=50, min_bbox_size=0, nms=NMS['nms'], max_per_img=20),
        rcnn=dict(score_thr=0.0, mask_thr_binary=0.5, **NMS)))
CONFIG = """
default_scope = '{scope}'
model = {model}
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 64), keep_ratio=True),
    {packing}]
test_dataloader = dict(dataset=dict(
    type='{dataset}', pipeline=test_pipeline, {classes}))
"""
NAMES = dict(classes=('cat', 'dog', 'bird'),
             palette=[[9, 0, 0], [0, 9, 0], [0, 0, 9]])


def write(root, name: str, model: dict, classes: str = f'metainfo={NAMES}'
          ) -> tuple[str, str]:
    """Config and checkpoint of a plain model with random weights."""
    scope, dataset, packing = (
        ('mmseg', 'BaseSegDataset', "dict(type='PackSegInputs')")
        if model is FCN else ('mmdet', 'CocoDataset', "dict(type='PackDetInputs')"))
    config, weights = root / f'{name}.py', root / f'{name}.pth'
    config.write_text(CONFIG.format(
        scope=scope, model=model, dataset=dataset, packing=packing, classes=classes))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        net = ROOT_MODELS.build(Config(dict(model=model)).model)
    torch.save(dict(state_dict=net.state_dict(), meta={}), weights)
    return str(config), str(weights)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp('plain')
    (root / 'photos' / 'inner').mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, size in {'a.png': (80, 60), 'inner/b.jpg': (50, 70)}.items():
        noise = draw.integers(256, size=(6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size).save(root / 'photos' / name)
    return dict(root=root, photos=str(root / 'photos'), fcn=write(root, 'fcn', FCN),
                retinanet=write(root, 'retinanet', RETINANET),
                mask_rcnn=write(root, 'mask_rcnn', MASK_RCNN))


@pytest.fixture(scope='module')
def masks_of(files):
    """The detections of Mask R-CNN, and the file that they were written to."""
    out = files['root'] / 'masks'
    found = open_inferencer(*files['mask_rcnn'], 'cpu')(
        files['photos'], out=out, score_thr=0, workers=0, progress=False)
    return found, out / 'annotations.json'


def test_a_plain_segmentor_gives_the_labels_of_mmseg(files):
    from mmseg.apis import inference_model, init_model
    inferencer = open_inferencer(*files['fcn'], 'cpu')
    assert type(inferencer) is SegmentorInferencer
    path = f'{files["photos"]}/a.png'
    result = inferencer(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        theirs = inference_model(init_model(*files['fcn'], device='cpu'), path)
    assert result.classes == ['cat', 'dog', 'bird'] and result.labels.shape == (60, 80)
    assert (result.labels == theirs.pred_sem_seg.data[0].numpy()).mean() > 0.999
    assert inferencer.colors.tolist() == NAMES['palette']


def test_the_tool_writes_label_maps_and_drawn_images(files, tmp_path):
    found = infer(*files['fcn'], [files['photos']], str(tmp_path), device='cpu',
                  workers=0, progress=False)
    assert found.unit == 'pixels' and sum(found.totals.values()) == 80 * 60 + 50 * 70
    assert np.asarray(Image.open(tmp_path / 'labels/inner/b.png')).shape == (70, 50)
    assert (tmp_path / 'a.jpg').is_file() and not (tmp_path / 'annotations.json'
                                                   ).exists()
    assert (tmp_path / 'classes.txt').read_text() == 'cat\ndog\nbird\n'


def test_a_plain_detector_gives_the_boxes_of_mmdet(files):
    from mmdet.apis import inference_detector, init_detector
    inferencer = open_inferencer(*files['retinanet'], 'cpu')
    assert type(inferencer) is DetectorInferencer
    path = f'{files["photos"]}/inner/b.jpg'
    result = inferencer(path, score_thr=0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = inference_detector(
            init_detector(*files['retinanet'], device='cpu', palette='random'), path)
    np.testing.assert_allclose(
        result.boxes_xyxy, theirs.pred_instances.bboxes, atol=1e-2)
    assert len(result.scores) == 5 and result.image_size == (70, 50)


def test_the_coco_file_holds_boxes_masks_and_class_names(masks_of):
    found, file = masks_of
    dataset = COCO(file)
    assert [c['name'] for c in dataset.loadCats([1, 2, 3])] == ['cat', 'dog', 'bird']
    assert [i['file_name'] for i in dataset.loadImgs([1, 2])] == ['a.png',
                                                                  'inner/b.jpg']
    for image_id, result in enumerate(found, 1):
        rows = dataset.loadAnns(dataset.getAnnIds(image_id))
        assert [row['category_id'] - 1 for row in rows] == result.labels.tolist()
        assert result.masks.shape == (len(rows), *result.image_size)
        for row, mask, box in zip(rows, result.masks, result.boxes_xyxy, strict=True):
            assert isinstance(row['segmentation']['counts'], str)
            assert (dataset.annToMask(row) == mask).all()
            assert row['area'] == mask.sum()
            left, top, width, height = row['bbox']
            np.testing.assert_allclose([left, top, left + width, top + height], box,
                                       atol=0.02)
    again = dataset.loadRes(json.loads(file.read_text())['annotations'])
    assert len(again.getAnnIds()) == len(dataset.getAnnIds()) > 0


def test_label_maps_become_an_annotation_for_each_class():
    labels = np.array([[0, 0, 2], [0, 2, 2]], np.uint8)
    result = Segmentation('a.png', ['sky', 'car', 'tree'], labels)
    sky, tree = result.to_coco()
    assert (sky['category_id'], tree['category_id']) == (1, 3)
    assert sky['area'] == tree['area'] == 3 and sky['bbox'] == [0, 0, 2, 2]
    assert (coco_mask.decode(tree['segmentation']) == (labels == 2)).all()


def test_boxes_without_masks_have_their_own_area():
    result = Detection('a.png', ['cat'], (40, 50), np.array([[1, 2, 11, 7.5]]),
                       np.array([0.5]), np.array([0]))
    dataset = coco_dataset([result, result])
    assert [row['image_id'] for row in dataset['annotations']] == [1, 2]
    assert dataset['annotations'][1] == dict(
        id=2, image_id=2, category_id=1, bbox=[1, 2, 10, 5.5], area=55, score=0.5,
        iscrowd=0)
    assert dataset['images'][0] == dict(id=1, file_name='a.png', height=40, width=50)


def test_results_draw_themselves():
    image = np.full((40, 50, 3), 90, np.uint8)
    boxes = Detection('a.png', ['cat'], (40, 50), np.array([[1., 2, 11, 8]]),
                      np.array([0.5]), np.array([0]))
    labels = Segmentation('a.png', ['sky'], np.zeros((40, 50), np.uint8))
    for result in (boxes, labels):
        assert result.draw(image).width > 2 * 640


def test_an_image_that_the_pipeline_cannot_take_is_left_out(files, tmp_path):
    # faults D: a name that is no UTF-8.
    odd = os.fsdecode(b'caf\xe9.png')
    for name, size in {odd: (80, 60), 'thread.png': (3000, 2)}.items():
        Image.new('RGB', size).save(tmp_path / name)
    found = infer(*files['retinanet'], [str(tmp_path)], str(tmp_path / 'out'),
                  device='cpu', score_thr=1, workers=0, progress=False)
    assert found.count == 1 and len(found.skipped) == 1
    assert 'thread.png: the test pipeline of the config cannot take an image of ' \
        '3000x2 pixels: ' in found.skipped[0]
    assert 'no box in 1 image has a score of 1 or more' in found.summary()
    boxes = json.loads((tmp_path / 'out' / 'annotations.json').read_text())
    assert boxes['images'][0]['file_name'] == odd
    # faults T: no data set takes what was drawn for images of the user.
    assert (tmp_path / 'out' / odd.replace('.png', '.jpg')).is_file()
    assert list_files(tmp_path, ('.png', '.jpg')) == [odd, 'thread.png']


def test_classes_without_names_are_numbered(files):
    paths = write(files['root'], 'nameless', FCN, classes='test_mode=True')
    assert open_inferencer(*paths, 'cpu').classes == ['class 0', 'class 1', 'class 2']


def test_what_no_inferencer_serves_is_named(files, tmp_path):
    config = tmp_path / 'backbone.py'
    config.write_text("model = dict(type='mmseg.ResNet', depth=18)\n")
    with pytest.raises(ValueError, match='no inferencer serves ResNet. Registered are'
                                         '.* DenseCLIPInferencer, DetectorI'):
        open_inferencer(str(config), files['fcn'][1], 'cpu')
    with pytest.raises(ValueError, match='EncoderDecoder reads no class texts; it '
                                         'knows its 3 classes only'):
        infer(*files['fcn'], [files['photos']], str(tmp_path), 'sky;tree', 'cpu')
    with pytest.raises(ValueError, match='objects: EncoderDecoder takes no objects; '
                                         'leave it out, or name the config of a model '
                                         'that places objects'):
        infer(*files['fcn'], [files['photos']], str(tmp_path), device='cpu',
              objects=['cup.png'])


@pytest.mark.parametrize('make', [SegmentorInferencer, open_inferencer])
def test_a_config_without_a_checkpoint_is_rejected(files, make):
    with pytest.raises(ValueError, match='fcn.py: give a checkpoint of its training'):
        make(files['fcn'][0], None)


def test_weights_of_another_shape_are_rejected(files, tmp_path):
    weights = torch.load(files['fcn'][1], weights_only=True)['state_dict']
    weights['decode_head.conv_seg.weight'] = torch.zeros(7, 8, 1, 1)
    torch.save(weights, tmp_path / 'seven.pth')
    with pytest.raises(ValueError, match='(?s)Name the config that the checkpoint was '
                                         r'trained with.*conv_seg.*\[7, 8, 1, 1\]'):
        open_inferencer(files['fcn'][0], str(tmp_path / 'seven.pth'), 'cpu')
