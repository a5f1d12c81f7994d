"""AP of groups of classes, by hand."""
import json

import pytest

pytest.importorskip('mmdet')
from mmcontrast.datasets.open_vocabulary import OV_COCO_BASE, OV_COCO_NOVEL
from mmcontrast.errors import UserValueError
from mmcontrast.registry import METRICS
from tests.helpers.ov_metric_cases import evaluated, samples

CLASSES = ('sky', 'car', 'cat')
IMAGES = [dict(id=k, height=100, width=100, file_name=f'{k}.jpg') for k in range(2)]


def truth(tmp_path, annotations, names=CLASSES):
    boxes = [dict(id=k + 1, image_id=image, category_id=names.index(name) + 1,
                  bbox=box, area=box[2] * box[3], iscrowd=0,
                  segmentation=[[box[0], box[1], box[0] + box[2], box[1],
                                 box[0] + box[2], box[1] + box[3],
                                 box[0], box[1] + box[3]]])
             for k, (image, name, box) in enumerate(annotations)]
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(dict(
        images=IMAGES, annotations=boxes,
        categories=[dict(id=k + 1, name=name) for k, name in enumerate(names)])))
    return str(path)


def found(image, name, box, score=0.9):
    return dict(image_id=image, category_id=CLASSES.index(name), bbox=box, score=score)


def scores(path, detections, meta=None, with_masks=False, **options):
    labels = {k: k for k in range(len(CLASSES))}
    return evaluated(
        METRICS.build(dict(type='GroupedCocoMetric', ann_file=path, **options)),
        dict(classes=CLASSES, **(meta or {})),
        samples(IMAGES, detections, labels, with_masks))


BOXES = [(0, 'sky', [0, 0, 40, 40]), (0, 'car', [50, 50, 40, 40]),
         (1, 'car', [10, 10, 40, 40]), (1, 'cat', [50, 0, 40, 40])]


def test_groups_are_means_over_their_classes_and_wrong_classes_do_not_help(tmp_path):
    detections = [found(0, 'sky', [0, 0, 40, 40]),
                  # One of two cars: recall 0.5, precision 1 up to there.
                  found(1, 'car', [10, 10, 40, 40]),
                  # IoU 0.75: found at the thresholds 0.5 to 0.75, 6 of 10.
                  found(1, 'cat', [50, 0, 40, 30]),
                  # The second car, called a cat with more confidence.
                  found(0, 'cat', [50, 50, 40, 40], 0.95)]
    scored = scores(truth(tmp_path, BOXES), detections,
                    groups=dict(old=['sky', 'car'], new=['cat']))
    car = 51 / 101
    assert scored['coco/old/bbox_mAP_50'] == pytest.approx((1 + car) / 2)
    assert scored['coco/new/bbox_mAP_50'] == pytest.approx(0.5)
    assert scored['coco/new/bbox_mAP'] == pytest.approx(0.5 * 6 / 10)
    assert scored['coco/bbox_mAP_50'] == pytest.approx((1 + car + 0.5) / 3)


def test_masks_and_boxes_have_their_own_scores_of_each_group(tmp_path):
    # The mask is the box; the ground truth mask of the cat is half of its box.
    path = truth(tmp_path, BOXES)
    held = json.loads(open(path).read())
    held['annotations'][3]['segmentation'] = [[50, 0, 70, 0, 70, 40, 50, 40]]
    open(path, 'w').write(json.dumps(held))
    scored = scores(path, [found(*box) for box in BOXES], with_masks=True,
                    metric=['bbox', 'segm'], groups=dict(new=['cat']))
    assert scored['coco/new/bbox_mAP'] == pytest.approx(1)
    # IoU 0.5 of the masks: found at the threshold 0.5 alone.
    assert scored['coco/new/segm_mAP'] == pytest.approx(0.1)


def test_base_and_novel_come_from_the_metainfo(tmp_path):
    scored = scores(truth(tmp_path, BOXES), [found(*box) for box in BOXES[:3]],
                    dict(base_classes=('sky', 'car'), novel_classes=('cat',)))
    assert scored['coco/base/bbox_mAP_50'] == pytest.approx(1)
    assert scored['coco/novel/bbox_mAP_50'] == 0
    with pytest.raises(ValueError, match='metainfo has no base_classes.*groups='):
        scores(truth(tmp_path, BOXES), [])


def test_a_test_without_detections_scores_zero_and_a_group_without_boxes_nothing(
        tmp_path):
    scored = scores(truth(tmp_path, BOXES[:3]), [],
                    groups=dict(old=['sky', 'car'], new=['cat']))
    assert scored['coco/old/bbox_mAP_50'] == 0 == scored['coco/bbox_mAP']
    assert scored['coco/new/bbox_mAP_50'] != scored['coco/new/bbox_mAP_50']


def test_only_the_best_detections_of_an_image_count(tmp_path):
    wrong = [found(0, 'sky', [60, 60, 20, 20], 0.95) for _ in range(3)]
    path, right = truth(tmp_path, BOXES), found(0, 'sky', [0, 0, 40, 40])
    options = dict(groups=dict(old=['sky']))
    assert scores(path, [*wrong, right], max_dets=3, **options)[
        'coco/old/bbox_mAP_50'] == 0
    assert scores(path, [*wrong, right], max_dets=4, **options)[
        'coco/old/bbox_mAP_50'] == pytest.approx(1 / 4)


def test_ground_truth_may_come_with_the_samples(tmp_path):
    metric = METRICS.build(dict(type='GroupedCocoMetric', groups=dict(old=['sky'])))
    data = samples(IMAGES[:1], [found(0, 'sky', [0, 0, 40, 40])], {0: 0})
    data[0]['instances'] = [dict(bbox=[0, 0, 40, 40], bbox_label=0, ignore_flag=0)]
    scored = evaluated(metric, dict(classes=CLASSES), data)
    assert scored['coco/old/bbox_mAP'] == pytest.approx(1)


def test_area_and_iscrowd_are_added_where_the_file_has_none(tmp_path):
    path = truth(tmp_path, BOXES)
    content = json.loads((tmp_path / 'gt.json').read_text())
    for box in content['annotations']:
        del box['area'], box['iscrowd']
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    scored = scores(path, [found(0, 'sky', [0, 0, 40, 40])], groups=dict(old=['sky']))
    assert scored['coco/old/bbox_mAP'] == pytest.approx(1)


def test_classes_in_another_order_than_the_file_are_an_error(tmp_path):
    path = truth(tmp_path, BOXES, ('cat', 'sky', 'car'))
    with pytest.raises(UserValueError, match="label 0 is 'cat' in the file, but 'sky'"):
        scores(path, [], groups=dict(old=['sky']))


def test_unknown_names_and_metrics_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="group 'old' names 'cats'.*mean 'cat'"):
        scores(truth(tmp_path, BOXES), [], groups=dict(old=['cats']))
    with pytest.raises(ValueError, match="'bbox', 'segm' or a list.*'proposal'"):
        METRICS.build(dict(type='GroupedCocoMetric', metric='proposal'))
    with pytest.raises(KeyError, match="predicted no masks. Use metric='bbox'"):
        scores(truth(tmp_path, BOXES), [], metric='segm', groups={})


def test_ov_coco_has_48_base_and_17_novel_classes_of_coco_in_its_order():
    from mmdet.evaluation import get_classes
    assert (len(OV_COCO_BASE), len(OV_COCO_NOVEL)) == (48, 17)
    coco = get_classes('coco')
    for names in (OV_COCO_BASE, OV_COCO_NOVEL):
        assert list(names) == [name for name in coco if name in names]
    assert not set(OV_COCO_BASE) & set(OV_COCO_NOVEL)
