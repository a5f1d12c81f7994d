"""Metrics of open-vocabulary detection against pycocotools and lvis-api."""
import json

import pytest

pytest.importorskip('mmdet')
from mmcontrast.registry import METRICS
from tests.helpers.ov_metric_cases import evaluated, metric_case, samples


def coco_scores(tmp_path, kind: str, **options):
    case = metric_case('metric_ov_coco')
    (tmp_path / 'gt.json').write_text(json.dumps(case['gt']))
    kept = {name: [c['name'] for c in case['gt']['categories'] if c['name'] in names]
            for name, names in (('base', case['base']), ('novel', case['novel']))}
    classes = [c['name'] for c in case['gt']['categories']
               if c['name'] in case['base'] + case['novel']]
    ids = {c['id']: classes.index(c['name']) for c in case['gt']['categories']
           if c['name'] in classes}
    found = evaluated(
        METRICS.build(dict(type=kind, ann_file=str(tmp_path / 'gt.json'), **options)),
        dict(classes=classes, base_classes=kept['base'], novel_classes=kept['novel']),
        samples(case['gt']['images'], [d for d in case['detections']
                                       if d['category_id'] in ids], ids))
    return case, found


def test_ov_coco_by_mmdet(tmp_path):
    """mmdet's metric is used as it is; it rounds the scores of all classes."""
    case, found = coco_scores(tmp_path, 'mmdet.OVCocoMetric')
    expected = case['expected']
    for name in ('base_ap50', 'novel_ap50', 'base_ap', 'novel_ap'):
        assert found[f'coco/{name}'] == pytest.approx(expected[name], abs=case['tol'])
    assert found['coco/bbox_mAP_50'] == pytest.approx(expected['all_ap50'], abs=5e-4)
    assert found['coco/bbox_mAP'] == pytest.approx(expected['all_ap'], abs=5e-4)


def test_ov_coco_by_groups(tmp_path):
    case, found = coco_scores(tmp_path, 'GroupedCocoMetric', classwise=True)
    expected = case['expected']
    names = dict(base='base/bbox_mAP', novel='novel/bbox_mAP', all='bbox_mAP')
    for group, name in names.items():
        for key, suffix in (('ap', ''), ('ap50', '_50')):
            assert found[f'coco/{name}{suffix}'] == pytest.approx(
                expected[f'{group}_{key}'], abs=case['tol'])
    for name, value in expected['per_class_ap50'].items():
        if value is not None:
            assert found[f'coco/class/{name}/bbox_mAP_50'] == pytest.approx(
                value, abs=case['tol'])


def test_ov_lvis(tmp_path):
    pytest.importorskip('lvis')
    case = metric_case('metric_ov_lvis')
    (tmp_path / 'gt.json').write_text(json.dumps(case['gt']))
    categories = case['gt']['categories']
    labels = {category['id']: k for k, category in enumerate(categories)}
    found = evaluated(
        METRICS.build(dict(type='OVLVISMetric', ann_file=str(tmp_path / 'gt.json'))),
        dict(classes=[category['name'] for category in categories]),
        samples(case['gt']['images'], case['detections'], labels))
    for name in ('AP', 'AP50', 'AP75', 'APr', 'APc', 'APf'):
        assert found[f'lvis/bbox_{name}'] == pytest.approx(
            case['expected'][name], abs=case['tol'])
