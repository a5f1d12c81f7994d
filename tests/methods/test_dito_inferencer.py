"""DITO on images: boxes and masks for any texts, score maps, best regions."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

pytest.importorskip('mmdet')
pytest.importorskip('open_clip')
from mmcontrast.apis.analysis.score_maps import (
    match_images,
    match_regions,
    score_maps,
)
from mmcontrast.apis.inferencers import OpenVocabularyInferencer, open_inferencer
from mmcontrast.visualization.heat_maps import score_map_sheet
from tests.helpers.tiny_dito import CLASSES, build, image, sample, write_files


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp('dito'))


def test_any_texts_give_boxes_masks_and_a_coco_file(files, tmp_path):
    config, checkpoint, path = files
    infer = open_inferencer(config, checkpoint, device='cpu')
    assert type(infer) is OpenVocabularyInferencer
    found = infer(path, classes='pink heart;red circle', score_thr=0, out=tmp_path)
    assert found.classes == ['pink heart', 'red circle'] and found.novel == (0,)
    assert len(found.scores) == 20 and found.masks.shape == (20, 128, 128)
    assert found.boxes_xyxy.max() > 64  # in pixels of the image, twice the input
    written = json.loads((tmp_path / 'annotations.json').read_text())
    assert [c['name'] for c in written['categories']] == ['pink heart', 'red circle']
    assert len(written['annotations']) == 20
    assert 'segmentation' in written['annotations'][0]


def test_the_trained_classes_come_back(files):
    config, checkpoint, path = files
    infer = open_inferencer(config, checkpoint, device='cpu')
    infer(path, classes='pink heart;')
    found = infer(path, score_thr=0)
    assert found.classes == list(CLASSES) and found.novel == ()


def test_novel_classes_are_marked_where_detections_are_drawn(files, monkeypatch):
    config, checkpoint, path = files
    names = []
    monkeypatch.setattr('mmcontrast.apis.inferencers.results.draw_detections',
                        lambda *args: names.extend(args[5]))
    infer = open_inferencer(config, checkpoint, device='cpu')
    found = infer(path, classes='Pink heart;RED circle', score_thr=0)
    found.draw(np.asarray(Image.open(path)))
    assert names == ['Pink heart (novel)', 'RED circle']


@torch.no_grad()
def test_cells_of_the_score_map_are_cosines_of_the_frozen_copy_and_texts():
    model = build().eval()
    images = image()[None] / 255
    scores, text = model.score_map(images), model.text_embeds()
    assert scores.shape == (1, 3, 8, 8)
    cell = model.vlm(images)[0][0, :, 2, 5]
    wanted = torch.cosine_similarity(cell, text[1], dim=0)
    torch.testing.assert_close(scores[0, 1, 2, 5], wanted)


@torch.no_grad()
def test_cosines_of_regions_are_those_that_classify_them():
    model = build().eval()
    images = image()[None] / 255
    found, = model.match_regions(images, [sample()])
    rois, logits, _ = model(images, [sample()], mode='tensor')
    torch.testing.assert_close(found.cosines, logits[:, :3] / 100, rtol=1e-4, atol=1e-6)
    assert len(found.bboxes) == len(rois)


def test_score_maps_show_texts_and_their_best_regions(files, tmp_path):
    config, checkpoint, path = files
    plain, outlined = (np.asarray(Image.open(score_maps(
        config, checkpoint, [path], str(tmp_path / str(count)), 'a cat;a dog',
        device='cpu', regions=count, progress=False).files[0])).astype(int)
        for count in (0, 2))
    assert plain.shape == outlined.shape and (abs(plain - outlined) > 50).any()


@torch.no_grad()
def test_padding_of_the_pipeline_is_no_part_of_the_image(files):
    config, checkpoint, _ = files
    infer = open_inferencer(config, checkpoint, device='cpu')
    # Three quarters of the square, as LargeScaleJitter places a wide image.
    padded = sample()
    padded.set_metainfo(dict(img_shape=(48, 64)))
    items = [SimpleNamespace(inputs=image(), sample=found)
             for found in (sample(), padded)]
    scores, shares = match_images(infer.model, items)
    assert scores.shape[0] == 2 and shares == [(1.0, 1.0), (0.75, 1.0)]
    whole, part = match_regions(infer.model, items, 1)
    np.testing.assert_allclose(part[0][0][:, 1::2] * 0.75, whole[0][0][:, 1::2],
                               rtol=0.05, atol=0.02)


def test_regions_are_outlined_on_the_tile_of_their_text_alone():
    maps, gray = torch.zeros(2, 4, 4), np.full((40, 40, 3), 90, np.uint8)
    nothing = np.zeros((0, 4)), np.zeros(0)
    box = np.array([[0.2, 0.2, 0.6, 0.6]]), np.array([0.5])
    plain, first, second = (np.asarray(score_map_sheet(
        gray, maps, ['a', 'b'], 'x', limits=(0, 1), regions=regions)).astype(int)
        for regions in ([nothing] * 2, [box, nothing], [nothing, box]))
    changed = [np.argwhere(abs(plain - other).sum(2) > 0)[:, 1] for other in
               (first, second)]
    assert len(changed[0]) and changed[0].max() < changed[1].min()


def test_the_best_regions_of_a_text_do_not_lie_on_each_other(files):
    infer = open_inferencer(*files[:2], device='cpu')
    of_texts, = match_regions(infer.model, [SimpleNamespace(
        inputs=image(), sample=sample())], 3)
    for boxes, cosines in of_texts:
        boxes = torch.tensor(boxes)
        overlaps = box_iou(boxes, boxes).fill_diagonal_(0)
        assert len(boxes) == 3 and overlaps.max() <= 0.5
        assert (np.diff(cosines) <= 0).all()


def test_regions_of_a_model_without_them_are_an_error(files, tmp_path):
    with pytest.raises(ValueError, match='regions=-1: expected 0 or more'):
        score_maps(files[0], files[1], [files[2]], str(tmp_path), regions=-1)
