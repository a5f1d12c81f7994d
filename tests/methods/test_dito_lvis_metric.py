"""LVIS scores on files small enough to count by hand."""
import json

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('lvis')
from mmcontrast.registry import METRICS
from tests.helpers.ov_metric_cases import evaluated, samples

IMAGES = [dict(id=1, height=100, width=100, neg_category_ids=[2],
               not_exhaustive_category_ids=[], coco_url='')]
BOX = [10, 10, 40, 40]


def scores(tmp_path, detections, classes=('cat', 'dog'), with_masks=True, **options):
    annotation = dict(id=1, image_id=1, category_id=1, bbox=BOX, area=20 * 40,
                      segmentation=[[10, 10, 30, 10, 30, 50, 10, 50]])
    path = tmp_path / 'lvis.json'
    path.write_text(json.dumps(dict(
        images=IMAGES, annotations=[annotation],
        categories=[dict(id=1, name='cat', frequency='r'),
                    dict(id=2, name='dog', frequency='f')])))
    metric = METRICS.build(dict(type='OVLVISMetric', ann_file=str(path), **options))
    return evaluated(metric, dict(classes=classes),
                     samples(IMAGES, detections, {1: 0, 2: 1}, with_masks))


def detection(category, box=BOX, score=0.9):
    return dict(image_id=1, category_id=category, bbox=box, score=score)


def test_boxes_and_masks_are_scored_and_numpy_stays_as_it_is(tmp_path):
    # The mask is the whole box: IoU 0.5 with the one of the ground truth.
    found = scores(tmp_path, [detection(1)], metric=['bbox', 'segm'])
    assert found['lvis/bbox_APr'] == pytest.approx(1)
    assert found['lvis/segm_APr'] == pytest.approx(0.1)
    assert found['lvis/segm_AP50'] == pytest.approx(1)
    # No ground truth of a frequent class.
    assert found['lvis/bbox_APf'] == -1
    assert not hasattr(np, 'float')


def test_detections_beyond_the_limit_do_not_count(tmp_path):
    many = [detection(1, [60, 60, 20, 20], 0.95) for _ in range(3)]
    assert scores(tmp_path, [*many, detection(1)], max_dets=3)['lvis/bbox_AP'] == 0
    assert scores(tmp_path, [*many, detection(1)])['lvis/bbox_AP'] > 0.2


def test_a_test_without_detections_scores_zero(tmp_path):
    assert scores(tmp_path, [], with_masks=False)['lvis/bbox_AP'] == 0


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValueError, match='1 classes.*2 categories'):
        scores(tmp_path, [], classes=('cat',))
    with pytest.raises(KeyError, match='predicted no masks'):
        scores(tmp_path, [detection(1)], with_masks=False, metric='segm')
    with pytest.raises(ValueError, match="got 'proposal'"):
        scores(tmp_path, [], metric='proposal')
