"""Samples of the converted files against numbers of PropVG's loader."""
import json

import cv2
import numpy as np
import pytest

from mmcontrast.registry import DATASETS
from tests.helpers.propvg_case import Case

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
PIPELINE = [
    dict(type='LoadGroundingImage'), dict(type='LoadGroundingAnnotations'),
    dict(type='ResizeGrounding', scale=(64, 64))]


@pytest.mark.parametrize('name', ['loader_grefcoco', 'loader_refcoco'])
def test_samples_are_what_the_reference_feeds_its_network(name, tmp_path):
    case = Case(name)
    # PNG bytes, whatever the file is called.
    png = cv2.imencode('.png', case.arrays['in_image_bgr'])[1].tobytes()
    (tmp_path / 'COCO_train2014_000000000007.jpg').write_bytes(png)
    (tmp_path / 'instances.json').write_text(json.dumps(
        dict(val=case.meta['annotations'])))
    (tmp_path / 'all.json').write_text(json.dumps(case.meta['foreground']))
    dataset = DATASETS.build(dict(
        type='GroundingDataset', ann_file='instances.json', data_root=str(tmp_path),
        split='val', foreground='all.json', test_mode=True, pipeline=PIPELINE))
    samples = [dataset[k] for k in range(len(dataset))]
    assert [np.flatnonzero(s['gt_referred']).tolist() for s in samples] == (
        case.meta['refer_target_index'])
    image = np.stack([(s['img'][..., ::-1] - MEAN) / STD for s in samples])
    case.check(dict(
        img=image.transpose(0, 3, 1, 2).astype(np.float32),
        gt_boxes=np.concatenate([s['gt_bboxes'] for s in samples]),
        gt_count=np.array([len(s['gt_bboxes']) for s in samples]),
        gt_mask=np.stack([s['gt_mask'] for s in samples]),
        empty=np.array([not s['gt_referred'].any() for s in samples]),
        scale_factor=np.array([s['scale_factor'] * 2 for s in samples], np.float32)))
