"""Placement pairs of OPA, of files made by inpainting, and of the toy world."""
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from mmcontrast.datasets.shapes import draw_placement, scene_seed
from mmcontrast.registry import DATASETS

PIPELINE = [dict(type='FlipPlacement', prob=0), dict(type='PrepareTopNet'),
            dict(type='PackPlacement')]


def shapes(**options):
    return DATASETS.build(dict(type='ShapesPlacements', num_pairs=3, **options))


def test_a_toy_pair_is_the_placement_of_its_seed():
    dataset = shapes(split='val', pipeline=[])
    placement = draw_placement(scene_seed('val', 2))
    item = dataset[2]
    assert item['seed'] == scene_seed('val', 2) and len(dataset) == 3
    np.testing.assert_array_equal(item['background'], placement.background.image)
    np.testing.assert_array_equal(item['cutout'].rgba, placement.cutout)
    left, top, right, bottom = placement.box_xyxy
    np.testing.assert_allclose(item['positives'],
                               [[left, top, right - left, bottom - top]])
    again = draw_placement(item['seed'], **item['scene_options'])
    np.testing.assert_array_equal(again.cutout, placement.cutout)


def test_toy_labels_are_the_true_box_or_all_boxes():
    placement = shapes().placement(0)
    counts = {labels: [len(shapes(labels=labels, pipeline=[])[0][key])
                       for key in ('positives', 'negatives')]
              for labels in ('true', 'positives', 'all')}
    many = len(placement.positives)
    assert many > 1 and counts == dict(
        true=[1, 0], positives=[many, 0], all=[many, len(placement.negatives)])
    for x, y, w, h in shapes(labels='all', pipeline=[])[0]['negatives']:
        assert not placement.is_plausible((x, y, x + w, y + h))


def test_toy_splits_share_no_pair():
    seeds = {shapes(split=split, pipeline=[])[i]['seed']
             for split in ('train', 'val', 'test') for i in range(3)}
    assert len(seeds) == 9


def test_kept_toy_pairs_survive_the_pipeline():
    kept = shapes(cache=True, pipeline=[dict(PIPELINE[0], prob=1), *PIPELINE[1:]])
    drawn = shapes(pipeline=[dict(PIPELINE[0], prob=1), *PIPELINE[1:]])
    for _ in range(2):
        assert kept[1]['data_samples'].positives.equal(
            drawn[1]['data_samples'].positives)
        assert kept[1]['inputs']['background'].equal(drawn[1]['inputs']['background'])


def test_toy_pairs_are_collated():
    batch = pseudo_collate([shapes(pipeline=PIPELINE)[i] for i in range(2)])
    assert [tuple(x.shape) for x in batch['inputs']['object']] == [(4, 224, 224)] * 2
    assert [s.object_id for s in batch['data_samples']] == ['0', '1']


@pytest.mark.parametrize('options, message', [
    (dict(num_pairs=0), 'num_pairs must be 1 or more'),
    (dict(num_pairs=1, labels='some'), "labels must be one of .*'some'"),
    (dict(num_pairs=1, split='all'), 'split must be one of'),
    (dict(num_pairs=1, num_boxes=0), 'num_boxes must be 1 or more')])
def test_wrong_options_of_the_toy_pairs_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(type='ShapesPlacements', **options))
