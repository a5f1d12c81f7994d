"""Metrics for each number of targets, and baselines that do not read the phrase."""
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmcontrast.evaluation.grounding.baselines import (
    BASELINES,
    answered,
    guess,
    score_baselines,
)
from tests.helpers.grounding_samples import evaluated, phrase

mmdet_structures = pytest.importorskip('mmdet.structures')

A, B = [0, 0, 10, 10], [20, 20, 40, 30]
BY_TARGETS = dict(one=[dict(type='RECMetric')], several=[dict(type='GRECMetric')],
                  none=[dict(type='GRECMetric')])


# By number of targets.

def test_each_kind_of_phrase_is_scored_by_its_own_metrics():
    samples = [
        phrase([A], [0.9], [A]), phrase([B], [0.9], [A]),             # one: 1 of 2
        phrase([A, B], [0.9, 0.8], [A, B]),                           # several: 1 of 1
        phrase([A], [0.9]), phrase([A], [0.2]), phrase([A], [0.1]),   # none: 2 of 3
    ]
    scores = evaluated('MetricsByTargets', samples, **BY_TARGETS)
    assert scores['targets/one_DetACC'] == 50
    assert scores['targets/several_F1score'] == 100
    assert scores['targets/none_N_acc'] == pytest.approx(200 / 3)


def test_a_kind_that_does_not_occur_has_no_scores():
    scores = evaluated('MetricsByTargets', [phrase([A], [0.9], [A])], **BY_TARGETS)
    assert set(scores) == {f'targets/one_DetACC{end}' for end in (
        '', *(f'@{level}' for level in (0.5, 0.6, 0.7, 0.8, 0.9)))}


# Baselines.

def sample(boxes, referred, size_wh=(40, 30), scale=1.0):
    """A packed sample of an image whose input is ``scale`` times as large."""
    width, height = size_wh
    mask = torch.zeros(round(height * scale), round(width * scale), dtype=torch.bool)
    made = mmdet_structures.DetDataSample(metainfo=dict(
        text='a dog', img_id=1, ori_shape=(height, width), scale_factor=(scale, scale)))
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * scale
    for left, top, right, bottom in boxes[referred].int().tolist():
        mask[top:bottom, left:right] = True
    made.gt_instances = InstanceData(
        bboxes=boxes, referred=torch.tensor(referred, dtype=torch.bool),
        labels=torch.zeros(len(boxes), dtype=torch.int64))
    made.gt_mask = mask
    return made


def test_a_box_is_given_in_pixels_of_the_image_and_filled_at_the_input_size():
    found = answered(sample([A, B], [True, False], scale=2.0), 'largest_object',
                     np.random.default_rng(0))
    assert found.pred_instances.bboxes.tolist() == [B]
    expected = torch.zeros(60, 80, dtype=torch.bool)
    expected[40:60, 40:80] = True
    assert torch.equal(found.pred_mask, expected)


def test_random_baselines_stay_inside_the_image_and_among_the_objects():
    rng, objects = np.random.default_rng(0), torch.tensor([A, B]).double()
    chosen = torch.cat([guess('random_object', objects, 40, 30, rng)
                        for _ in range(200)])
    assert 70 < (chosen == objects[0]).all(1).sum() < 130
    assert ((chosen == objects[0]).all(1) | (chosen == objects[1]).all(1)).all()
    drawn = torch.cat([guess('random_box', objects, 40, 30, rng) for _ in range(500)])
    assert (drawn >= 0).all() and (drawn <= torch.tensor([40, 30, 40, 30])).all()
    assert (drawn[:, :2] <= drawn[:, 2:]).all()
    # The mean side of a box between two uniform points is a third.
    sides = (drawn[:, 2:] - drawn[:, :2]).mean(0)
    torch.testing.assert_close(sides, torch.tensor([40., 30.]).double() / 3,
                               rtol=0.1, atol=0)


def test_what_is_always_right_where_nothing_or_everything_is_meant():
    empty, both = sample([A, B], [False, False]), sample([A, B], [True, True])
    metrics = [dict(type='GRECMetric'), dict(type='GRESMetric')]
    scores = score_baselines([empty, both, empty], metrics)
    assert set(scores) == set(BASELINES)
    assert scores['never']['GREC/N_acc'] == 100
    assert scores['never']['GREC/F1score'] == pytest.approx(200 / 3)
    assert scores['all_objects']['GREC/F1score'] == pytest.approx(100 / 3)
    # The mask of both objects is their boxes here: IoU 1, and 0 for the other two.
    assert scores['all_objects']['GRES/gIoU'] == pytest.approx(100 / 3)
    assert scores['image']['GREC/T_acc'] == 100


def test_an_image_without_objects_has_no_box_to_choose():
    for name in ('random_object', 'largest_object', 'all_objects'):
        found = answered(sample([], []), name, np.random.default_rng(0))
        assert found.pred_instances.bboxes.shape == (0, 4)
        assert not found.pred_mask.any()


def test_an_unknown_baseline_is_named():
    with pytest.raises(ValueError, match='baseline must be one of'):
        guess('best', torch.zeros(0, 4), 4, 4, np.random.default_rng(0))
