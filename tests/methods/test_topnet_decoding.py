"""Boxes from TopNet's heat maps: ranks, suppression, constraints of a user."""
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet import PlacementGrid
from mmcontrast.methods.topnet import decoding as module
from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.decoding import decode, decode_batch, is_peak

GRID = PlacementGrid((10, 12), scales=5)
WHOLE, THING = (120, 100), (20, 30)


def random_maps(count=3, shape=GRID.shape, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def overlaps(boxes, other):
    """Whether boxes share area with a box, from their edges."""
    ends, end = boxes[:, :2] + boxes[:, 2:], other[:2] + other[2:]
    return ((boxes[:, :2] < end) & (other[:2] < ends)).all(1)


@pytest.mark.parametrize('window', [1, 3, 5, 9])
@pytest.mark.parametrize('shape', [(5, 10, 12), (1, 10, 12), (5, 1, 1), (2, 3, 2)])
def test_peaks_are_those_of_max_pooling(shape, window):
    heat = (8 * random_maps(shape=shape)).round()      # many ties
    pooled = F.max_pool3d(heat[:, None], window, 1, window // 2)[:, 0]
    assert torch.equal(is_peak(heat, window), heat == pooled)


def test_a_batch_gives_what_its_maps_give_alone():
    heat = random_maps(4)
    wholes = torch.tensor([[120, 100], [90, 200], [300, 50], [10, 10]])
    things = torch.tensor([[20, 30], [5, 9], [9, 5], [1, 1]])
    for nms_iou in (None, 0.2):
        for i, found in enumerate(decode_batch(heat, GRID, wholes, things, k=7,
                                               nms_iou=nms_iou)):
            alone = decode(heat[i], GRID, wholes[i], things[i], k=7, nms_iou=nms_iou)
            assert torch.equal(found.cells, alone.cells)
            assert torch.equal(found.boxes_xywh, alone.boxes_xywh)


def test_of_equal_scores_the_first_in_the_order_of_the_map_leads():
    found = decode(torch.full(GRID.shape, 0.5), GRID, WHOLE, (1, 1), k=3,
                   keep_inside=False)
    assert found.cells.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]


def test_boxes_that_leave_the_background_are_dropped_and_others_kept():
    heat = torch.zeros(GRID.shape)
    heat[4, 0, 0], heat[0, 5, 5] = 0.9, 0.8
    assert decode(heat, GRID, WHOLE, THING, k=1).cells.tolist() == [[0, 5, 5]]
    assert decode(heat, GRID, WHOLE, THING, k=1, keep_inside=False
                  ).cells.tolist() == [[4, 0, 0]]


def test_fewer_peaks_give_fewer_boxes_and_none_an_empty_result():
    heat = torch.full(GRID.shape, -torch.inf)
    heat[1, 5, 5] = 0.3
    assert len(decode(heat, GRID, WHOLE, THING, k=5)) == 1
    empty = decode(torch.full(GRID.shape, -torch.inf), GRID, WHOLE, THING)
    assert empty.boxes_xywh.shape == (0, 4) and empty.cells.shape == (0, 3)


@pytest.mark.parametrize('first', [1, 3, 1000])
def test_suppression_keeps_the_first_k_of_a_greedy_loop(first, monkeypatch):
    monkeypatch.setattr(module, 'FIRST_BOXES', first)
    heat = random_maps(1)[0]
    every = decode(heat, GRID, WHOLE, THING, k=10 ** 6, window=1)
    kept = []
    for box in every.boxes_xywh:
        def iou(other, box=box):
            low = torch.maximum(box[:2], other[:2])
            high = torch.minimum(box[:2] + box[2:], other[:2] + other[2:])
            shared = (high - low).clamp(min=0).prod()
            return shared / (box[2:].prod() + other[2:].prod() - shared)
        if all(iou(other) <= 0.3 for other in kept):
            kept.append(box)
        if len(kept) == 6:
            break
    found = decode(heat, GRID, WHOLE, THING, k=6, window=1, nms_iou=0.3)
    assert torch.equal(found.boxes_xywh, torch.stack(kept))


def test_a_fixed_scale_finds_peaks_within_its_slice():
    heat = random_maps(1)[0]
    found = decode(heat, GRID, WHOLE, (1, 1), k=4, keep_inside=False,
                   constraints=Constraints(fixed_scale=2))
    alone = decode(heat[2:3], PlacementGrid((10, 12), 1), WHOLE, (1, 1), k=4,
                   keep_inside=False)
    assert (found.cells[:, 0] == 2).all()
    assert torch.equal(found.cells[:, 1:], alone.cells[:, 1:])


def test_a_fixed_cell_ranks_its_scales():
    heat = torch.zeros(GRID.shape)
    heat[:, 4, 7] = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.3])
    found = decode(heat, GRID, WHOLE, THING, keep_inside=False,
                   constraints=Constraints(fixed_cell=(4, 7)))
    assert found.cells.tolist() == [[3, 4, 7], [1, 4, 7]]


def test_a_point_of_the_background_fixes_its_cell():
    # Cells of 10 x 10 pixels.
    assert Constraints.at_point((79, 41), WHOLE, GRID, fixed_scale=1) == Constraints(
        fixed_cell=(4, 7), fixed_scale=1)
    with pytest.raises(UserValueError, match='outside of the background'):
        Constraints.at_point((121, 5), WHOLE, GRID)


def test_centers_stay_in_the_allowed_region_and_its_best_cell_leads():
    heat = random_maps(1)[0]
    allowed = torch.zeros(100, 120, dtype=torch.bool)
    allowed[30:62, 50:90] = True
    found = decode(heat, GRID, WHOLE, THING, k=50, window=1, keep_inside=False,
                   constraints=Constraints(allow=allowed))
    # Centers of cells at 5, 15, 25, ...: rows 3 to 5, columns 5 to 8, all scales.
    assert len(found) == 50
    best = heat[:, 3:6, 5:9].max()
    peaks = decode(heat, GRID, WHOLE, THING, keep_inside=False,
                   constraints=Constraints(allow=allowed))
    assert peaks.scores[0] == found.scores[0] == best
    assert {tuple(c) for c in found.cells[:, 1:].tolist()} <= {
        (j, i) for j in range(3, 6) for i in range(5, 9)}


def test_an_allowed_region_without_a_peak_of_the_map_still_gives_a_place():
    heat = torch.linspace(0, 1, 12).expand(GRID.shape).clone()     # rises to the right
    allowed = torch.zeros(100, 120, dtype=torch.bool)
    allowed[:, :60] = True
    found = decode(heat, GRID, WHOLE, (1, 9), k=1,
                   constraints=Constraints(allow=allowed))
    assert found.cells[0, 2] == 5


def test_no_box_overlaps_a_forbidden_one_and_all_others_remain():
    heat = random_maps(1)[0]
    forbidden = torch.tensor([[30., 20, 25, 30], [90, 70, 8, 4]], dtype=torch.float64)
    free = decode(heat, GRID, WHOLE, THING, k=10 ** 6, window=1)
    bad = overlaps(free.boxes_xywh, forbidden[0]) | overlaps(
        free.boxes_xywh, forbidden[1])
    assert 0 < bad.sum() < len(bad)
    found = decode(heat, GRID, WHOLE, THING, k=10 ** 6, window=1,
                   constraints=Constraints(avoid=forbidden))
    assert torch.equal(found.boxes_xywh, free.boxes_xywh[~bad])


def test_forbidden_boxes_follow_the_object_of_each_map():
    heat, things = random_maps(2), torch.tensor([[20, 30], [60, 10]])
    constraints = Constraints(avoid=[[30, 20, 25, 30]])
    for i, found in enumerate(decode_batch(heat, GRID, WHOLE, things,
                                           constraints=constraints)):
        alone = decode(heat[i], GRID, WHOLE, things[i], constraints=constraints)
        assert torch.equal(found.cells, alone.cells)


def test_boxes_that_touch_a_forbidden_one_do_not_overlap_it():
    grid = PlacementGrid((1, 4), scales=1, binning='fopa')     # ratio 1 / 3
    # Boxes of 40 x 40 at x = -5, 25, 55, 85 in 120 x 120.
    heat = torch.tensor([0.4, 0.3, 0.2, 0.1]).view(1, 1, 4)
    for rounding in (0, 1e-13):
        touching = [[65 - rounding, 0, 20 + 2 * rounding, 120]]
        found = decode(heat, grid, (120, 120), (1, 1), window=1, keep_inside=False,
                       constraints=Constraints(avoid=touching))
        assert found.cells[:, 2].tolist() == [0, 1, 3]


def test_no_boxes_to_avoid_rule_nothing_out():
    heat = random_maps(1)[0]
    plain = decode(heat, GRID, WHOLE, THING)
    empty = decode(heat, GRID, WHOLE, THING,
                   constraints=Constraints(avoid=[]))
    assert torch.equal(plain.cells, empty.cells)


@pytest.mark.parametrize('change, message', [
    (dict(k=0), 'k must be positive'), (dict(window=2), 'window odd'),
    (dict(nms_iou=1.5), 'nms_iou must be from 0 to 1'),
    (dict(constraints=Constraints(fixed_scale=5)), 'fixed_scale must be from 0 to 4'),
    (dict(constraints=Constraints(fixed_cell=(3, 12))), 'column of fixed_cell'),
    (dict(constraints=Constraints(allow=torch.ones(10, 12).bool())),
     r'shape \(10, 12\), but the background has 100 rows and 120 columns'),
    (dict(object_wh=(1, 2, 3)), 'object_wh must be'),
    (dict(heat=torch.rand(5, 12, 10)), r'must be \(S, H, W\) = \(5, 10, 12\)')])
def test_what_does_not_fit_is_named(change, message):
    given = dict(heat=random_maps(1)[0], object_wh=THING) | change
    with pytest.raises(UserValueError, match=message):
        decode(given.pop('heat'), GRID, WHOLE, **given)
