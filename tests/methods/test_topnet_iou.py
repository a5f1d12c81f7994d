"""Placement IoU: best of k predictions over all true boxes, and diversity."""
import pytest
import torch

from mmcontrast.errors import DataError, UserKeyError, UserValueError
from mmcontrast.methods.topnet.placement_iou import (
    PlacementIoU,
    best_ious,
    placement_std,
)
from mmcontrast.methods.topnet.sample import PlacementSample
from mmcontrast.registry import METRICS


def sample(boxes, positives, background_wh=(100, 50)) -> dict:
    return PlacementSample(metainfo=dict(background_wh=background_wh), boxes_xywh=boxes,
                           positives=positives).to_dict()


def scores(samples, **options) -> dict:
    metric = METRICS.build(dict(type='PlacementIoU', **options))
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_half_of_a_box_is_an_iou_of_one_half_and_not_above_it():
    # (0, 0, 10, 10) and (0, 0, 10, 20): 100 of 200 pixels.
    found = scores([sample([[0, 0, 10, 10]], [[0, 0, 10, 20]])], topk=1,
                   thresholds=(0.49, 0.5))
    assert found == dict(top1_iou=0.5, top1_iou49=1.0, top1_iou50=0.0)


def test_boxes_are_position_and_size_not_two_corners():
    # As corners these would overlap.
    found = best_ious(torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([[5.0, 0, 5, 5]]),
                      [1])
    assert found.tolist() == [[0]]


BOXES = [[0, 0, 10, 10], [50, 0, 10, 10], [20, 0, 10, 10]]
TRUTHS = [[20, 0, 10, 20], [50, 0, 10, 10]]


def test_every_true_box_is_compared_with_the_first_k_predictions():
    boxes, truths = (torch.tensor(part).double() for part in (BOXES, TRUTHS))
    assert best_ious(boxes, truths, [1, 2, 9]).tolist() == [[0, 0, 0.5], [0, 1, 1]]
    assert best_ious(boxes[[2, 0, 1]], truths, [1, 2, 9]).tolist() == [
        [0.5, 0.5, 0.5], [0, 0, 1]]


def test_an_image_counts_once_by_its_best_box_or_every_true_box_by_itself():
    samples = [sample(BOXES[::-1], TRUTHS), sample(BOXES, TRUTHS[:1])]
    once = scores(samples, topk=(1, 2))
    # Best of both boxes, then of the one: 0.5 and 0; 1 (the second true box) and 0.
    assert once['top1_iou'] == 0.25 and once['top2_iou'] == 0.5
    each = scores(samples, topk=(1, 2), per_truth=True)
    assert each['top1_iou'] == pytest.approx((0.5 + 0 + 0) / 3)
    assert each['top2_iou'] == pytest.approx((0.5 + 1 + 0) / 3)
    assert each['top2_iou50'] == pytest.approx(1 / 3)
    # As if every true box were a sample.
    rows = [sample(BOXES[::-1], TRUTHS[:1]), sample(BOXES[::-1], TRUTHS[1:]),
            samples[1]]
    found = scores(rows, topk=(1, 2))
    assert all(each[name] == found[name] for name in found if 'iou' in name)


def test_a_true_box_without_predictions_counts_zero():
    found = scores([sample([], TRUTHS), sample(TRUTHS[:1], TRUTHS[:1])], per_truth=True)
    assert found['top1_iou'] == pytest.approx(1 / 3)


def test_an_image_without_predictions_counts_zero_and_one_without_positives_not():
    hit = sample([[0, 0, 10, 10]], [[0, 0, 10, 10]])
    found = scores([hit, sample([], [[0, 0, 10, 10]]), sample([[0, 0, 10, 10]], [])])
    assert found['top1_iou'] == found['top5_iou'] == found['top1_iou50'] == 0.5


def test_the_threshold_of_the_search_at_a_fixed_center_gives_its_name():
    boxes = [[[0, 0, 10, height]] for height in (9.4, 9.6, 10)]
    found = scores([sample(box, [[0, 0, 10, 10]]) for box in boxes], topk=1,
                   thresholds=0.95)
    assert found['top1_iou95'] == pytest.approx(2 / 3)


def test_diversity_is_the_deviation_of_scale_and_center_as_shares():
    # Background 100 x 50. Scales 0.2 (10 of 50 high) and 0.4 (40 of 100 wide);
    # centers x 0.1 and 0.5, y 0.2 and 0.2: deviations are half the differences.
    boxes = torch.tensor([[5.0, 5, 10, 10], [30.0, 5, 40, 10]]).double()
    assert placement_std(boxes, (100, 50)).tolist() == pytest.approx([0.1, 0.2, 0])
    found = scores([sample(boxes, [[0, 0, 1, 1]]), sample(boxes[:1], [[0, 0, 1, 1]]),
                    sample([], [[0, 0, 1, 1]])])
    # The image with one prediction counts 0, the one without does not count.
    assert [found[f'top5_{name}_std'] for name in ('scale', 'x', 'y')] == pytest.approx(
        [0.05, 0.1, 0])


def test_predictions_beyond_k_change_nothing():
    boxes = torch.rand(9, 4).double() * 20 + 1
    whole, cut = (scores([sample(part, boxes[-2:] + 1)]) for part in (boxes, boxes[:5]))
    assert whole == cut


def test_boxes_without_area_have_no_iou():
    flat = torch.zeros(1, 4).double()
    assert best_ious(flat, flat, [1]).tolist() == [[0]]


@pytest.mark.parametrize('options, named', [
    (dict(topk=0), 'topk'), (dict(topk=()), 'topk'), (dict(thresholds=50), 'IoUs'),
    (dict(topk='5'), "topk .* got '5'"), (dict(topk=1.5), 'topk'),
    (dict(topk=[1, 'a']), 'topk'), (dict(topk=True), 'topk'),
    (dict(thresholds='x'), 'IoUs'), (dict(thresholds=[0.5, None]), 'IoUs')])
def test_wrong_options_are_named(options, named):
    with pytest.raises(UserValueError, match=named):
        PlacementIoU(**options)


def test_missing_boxes_are_named():
    with pytest.raises(UserKeyError, match='object 7 has no boxes_xywh'):
        PlacementIoU().process({}, [dict(positives=[[0, 0, 1, 1]], object_id='7')])
    without_size = dict(sample([[0, 0, 1, 1]], [[0, 0, 1, 1]]), object_id='7')
    del without_size['background_wh']
    with pytest.raises(UserKeyError, match='object 7 has no background_wh'):
        scores([without_size])
    assert scores([without_size], topk=1)['top1_iou'] == 1
    with pytest.raises(UserValueError, match='boxes_xywh of .* are not finite'):
        scores([sample([[0, 0, 1, 1], [0, float('nan'), 1, 1]], [[0, 0, 1, 1]])])
    with pytest.raises(DataError, match='positive'):
        scores([sample([[0, 0, 1, 1]], [])])
