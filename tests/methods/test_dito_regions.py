"""Regions that pretraining samples: random boxes, grids, the whole image."""
import pytest
import torch

from mmcontrast.methods.dito.regions import GridRegions, RandomRegions, random_boxes
from mmcontrast.registry import MODELS


def box(*draws, **settings):
    return random_boxes(torch.tensor(draws), 100, 200, **settings).tolist()


def test_size_and_position_follow_the_draws():
    # Half the largest ratio: square in shares of the image.
    assert box(1., .5, .3, .9) == pytest.approx([0, 0, 200, 100])
    assert box(0., .5, 0., 0.) == pytest.approx([0, 0, 10, 5])
    assert box(0., .5, 1., .5) == pytest.approx([95, 95, 105, 100], rel=1e-5)


def test_the_aspect_ratio_is_height_to_width_up_to_two():
    x1, y1, x2, y2 = box(7 / 19, 1., 0., 0.)        # 0.4 of the sides before it
    assert y2 == pytest.approx(40 * 2 ** .5) and x2 == pytest.approx(80 / 2 ** .5)
    x1, y1, x2, y2 = box(7 / 19, 0., 0., 0.)
    assert y2 == pytest.approx(40 / 2 ** .5) and x2 == pytest.approx(80 * 2 ** .5)


def test_a_side_longer_than_the_image_is_cut_to_it():
    x1, y1, x2, y2 = box(1., 1., .5, 0.)
    assert (y1, y2) == pytest.approx((0, 100)) and x2 == pytest.approx(200 / 2 ** .5)


def test_random_boxes_lie_in_the_image_and_vary():
    sampler = RandomRegions(counts=(64, 16), min_size=0.1)
    torch.manual_seed(0)
    for boxes, count in zip(sampler(sampler.draw(20), 60, 90), (64, 16), strict=True):
        assert boxes.shape == (20, count, 4)
        assert (boxes[..., :2] >= 0).all() and (boxes[..., 2] <= 90 + 1e-4).all()
        assert (boxes[..., 3] <= 60 + 1e-4).all()
        sides = (boxes[..., 2:] - boxes[..., :2]) / torch.tensor([90., 60.])
        assert sides.min() >= 0.1 / 2 ** .5 - 1e-6
        assert boxes.flatten(0, 1).std(0).min() > 5


def test_counts_are_those_of_the_levels_times_k():
    assert RandomRegions().counts == (64, 16, 4, 1)
    assert RandomRegions(multiple=2).counts == (128, 32, 8, 2)


def test_grid_cells_tile_the_image():
    sampler = GridRegions(counts=(6, 1))
    cells, whole = sampler(sampler.draw(3), 60, 90)
    assert cells.shape == (3, 6, 4)
    assert cells[2].tolist() == [
        [0, 0, 30, 30], [30, 0, 60, 30], [60, 0, 90, 30],
        [0, 30, 30, 60], [30, 30, 60, 60], [60, 30, 90, 60]]
    assert whole[0].tolist() == [[0, 0, 90, 60]]


@pytest.mark.parametrize('kind', ['RandomRegions', 'GridRegions'])
def test_the_whole_image_comes_last_on_every_level(kind):
    sampler = MODELS.build(dict(type=kind, counts=(4, 1), with_whole_image=True))
    fine, coarse = sampler(sampler.draw(2), 60, 90)
    assert fine.shape == (2, 5, 4) and coarse.shape == (2, 2, 4)
    for boxes in (fine, coarse):
        assert boxes[:, -1].tolist() == [[0, 0, 90, 60]] * 2


def test_counts_that_make_strips_are_named():
    with pytest.raises(ValueError, match='7 regions make a grid of 1 x 7'):
        GridRegions(counts=(16, 7))


@pytest.mark.parametrize('settings', [
    dict(counts=()), dict(counts=(4, 0)), dict(multiple=0), dict(multiple=1.5),
    dict(min_size=0.), dict(max_aspect=.5)])
def test_impossible_settings_are_errors(settings):
    with pytest.raises(ValueError, match='='):
        RandomRegions(**settings)
