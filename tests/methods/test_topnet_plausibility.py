"""Plausibility of placements in the toy world, judged by the rule of its positives."""
import numpy as np
import pytest
import torch

from mmcontrast.datasets.shapes import draw_placement, plan_placement, scene_seed
from mmcontrast.errors import DataError, UserKeyError, UserValueError
from mmcontrast.methods.topnet.sample import PlacementSample
from mmcontrast.methods.topnet.toy_baselines import baseline_boxes, training_prior
from mmcontrast.methods.topnet.toy_plausibility import ToyPlausibility
from mmcontrast.registry import METRICS

SIZE = 64


def xywh(boxes) -> torch.Tensor:
    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def sample(boxes, seed=0, **meta) -> dict:
    pair = draw_placement(seed, SIZE)
    height, width = pair.cutout.shape[:2]
    return PlacementSample(
        metainfo=dict(background_wh=(SIZE, SIZE), object_wh=(width, height), seed=seed,
                      **meta),
        positives=xywh(pair.positives[:1]), boxes_xywh=boxes).to_dict()


def scores(samples, **options) -> dict:
    metric = METRICS.build(dict(type='ToyPlausibility', train_scenes=20, **options))
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_positives_are_plausible_and_negatives_are_not():
    for seed in range(5):
        pair = draw_placement(seed, SIZE)
        boxes = xywh(pair.positives)
        assert scores([sample(boxes, seed)], baselines=False)['top5_mean'] == 1
        assert scores([sample(xywh(pair.negatives), seed)],
                      baselines=False)['top5_any'] == 0


def test_any_and_mean_of_the_first_k():
    pair = draw_placement(0, SIZE)
    good, bad = xywh(pair.positives)[:1], xywh(pair.negatives)
    boxes = torch.cat([bad[:3], good, bad[3:]])
    found = scores([sample(boxes), sample(good), sample([])], baselines=False)
    assert found['top1'] == pytest.approx(1 / 3)
    assert found['top5_any'] == pytest.approx(2 / 3)
    assert found['top5_mean'] == pytest.approx((1 / 5 + 1 + 0) / 3)
    assert scores([sample(boxes)], topk=3, baselines=False)['top3_any'] == 0


def test_a_box_counts_under_the_first_rule_that_it_breaks():
    plan = plan_placement(0)
    true = xywh(plan.positives[:1]) * SIZE
    other = plan.background.objects[0].box
    behind = plan.background.moved(
        plan.thing, (other[0] + other[2]) / 2, other[3]).box
    # Half as wide and high on the same foot.
    small = true * torch.tensor([1, 1, 0.5, 0.5]) + torch.tensor(
        [true[0, 2] / 4, true[0, 3] / 2, 0, 0])
    wrong = dict(
        outside=true - torch.tensor([SIZE, 0, 0, 0]),
        in_the_air=true - torch.tensor([0, true[0, 1], 0, 0]),
        wrong_size=small, overlap=xywh([behind]) * SIZE, no_prediction=[])
    found = scores([sample(true)] + [sample(box) for box in wrong.values()],
                   baselines=False)
    assert found['top1'] == pytest.approx(1 / 6)
    for reason in wrong:
        assert found[f'top1_{reason}'] == pytest.approx(1 / 6), reason


def test_a_cutout_of_whole_pixels_in_the_true_place_is_plausible():
    """Its aspect ratio differs a little from that of the true box."""
    for seed in range(10):
        pair = draw_placement(seed, SIZE)
        height, width = pair.cutout.shape[:2]
        x, y, w, h = xywh(pair.positives[:1])[0].tolist()
        box = [x + w / 2 - h * width / height / 2, y, h * width / height, h]
        assert scores([sample([box], seed)], baselines=False)['top1_wrong_size'] == 0


# Baselines.

def test_random_boxes_lie_inside_and_have_the_shape_of_the_object():
    prior = torch.tensor([0.25, 0.4, 0.7], dtype=torch.float64)
    made = baseline_boxes(prior, (30, 60), 200, np.random.default_rng(0))
    for name, boxes in made.items():
        assert torch.allclose(boxes[:, 3], 2 * boxes[:, 2]), name
    for boxes in (made['random'], made['random_position']):
        assert boxes[:, :2].min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max() <= 1
    assert made['random'][:, 3].min() < 0.05 and made['random'][:, 3].max() > 0.95
    assert torch.allclose(made['random_position'][:, 3], prior[0])
    assert made['center'].tolist() == [pytest.approx([0.4375, 0.375, 0.125, 0.25])]
    assert made['mean'].tolist() == [pytest.approx([0.3375, 0.575, 0.125, 0.25])]


def test_the_prior_is_the_mean_over_the_positives_of_training_scenes():
    boxes = torch.cat([xywh(draw_placement(scene_seed('train', i), 32).positives) / 32
                       for i in range(3)])
    x, y, w, h = boxes.unbind(1)
    expected = [torch.maximum(w, h).mean(), (x + w / 2).mean(), (y + h / 2).mean()]
    assert training_prior(3).tolist() == pytest.approx([float(v) for v in expected])


def test_baselines_depend_on_seed_and_scene_alone():
    samples = [sample([], seed) for seed in range(6)]
    first = scores(samples)
    assert first == scores(samples[::-1])
    assert {'random_top1', 'random_top5_any', 'random_position_top5_mean',
            'center_top1', 'mean_top1'} <= set(first)
    assert 'mean_top5_any' not in first
    metric = ToyPlausibility(train_scenes=20)
    entries = [metric._entry(samples[0]) for _ in range(2)]
    assert entries[0] == entries[1]


def test_scene_options_of_the_dataset_are_followed():
    options = dict(size=SIZE, combinations='all', num_objects=[2, 2], num_boxes=3)
    pair = draw_placement(4, **dict(options, num_objects=(2, 2)))
    given = dict(sample([], 4), positives=xywh(pair.positives), scene_options=options,
                 boxes_xywh=xywh(pair.positives))
    assert scores([given])['top1'] == 1


# What is said.

def test_a_flipped_scene_and_other_data_are_rejected():
    flipped = sample([])
    flipped['positives'][0, 0] = SIZE - flipped['positives'][0, 0] - 1
    with pytest.raises(DataError, match='FlipPlacement'):
        scores([flipped])
    with pytest.raises(UserKeyError, match='no seed'):
        scores([dict(boxes_xywh=[], background_wh=(4, 4), object_wh=(1, 1))])
    with pytest.raises(UserKeyError, match='no boxes_xywh'):
        scores([{key: value for key, value in sample([]).items()
                 if key != 'boxes_xywh'}])
    with pytest.raises(DataError, match='no image to judge'):
        scores([])
    for options in (dict(topk=0), dict(topk='5'), dict(train_scenes=1.5)):
        with pytest.raises(UserValueError, match='topk'):
            ToyPlausibility(**options)
