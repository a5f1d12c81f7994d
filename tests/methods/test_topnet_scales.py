"""The search over sizes: ranking, borders, sizes, canvases of an object."""
import numpy as np
import pytest
import torch

from mmcontrast.methods.topnet.scales import rank_placements, scale_sizes
from mmcontrast.registry import DATASETS, MODELS, TRANSFORMS


def released_ranking(heat, sizes, background_wh, k):
    """FOPA's scripts with floats: a slow loop over the cells."""
    (bg_w, bg_h), found = background_wh, []
    scales, rows, cols = heat.shape
    for s in range(scales):
        w, h = sizes[s]
        hb, wb = int(h / bg_h * rows / 2), int(w / bg_w * cols / 2)
        for y in range(hb, rows - hb):
            for x in range(wb, cols - wb):
                center = x / cols * bg_w, y / rows * bg_h
                found.append((-float(heat[s, y, x]), (s, y, x), [
                    int(center[0] - w / 2), int(center[1] - h / 2), w, h]))
    found.sort(key=lambda item: item[:2])
    return [item[1:] for item in found[:k]]


@pytest.mark.parametrize('background_wh, object_wh', [
    ((97, 60), (10, 31)), ((60, 97), (40, 11)), ((1000, 700), (3, 2))])
def test_the_ranking_is_that_of_a_loop_over_all_cells(background_wh, object_wh):
    torch.manual_seed(0)
    # Few values, so that many are equal.
    heat = torch.randint(0, 40, (5, 20, 24)) / 64
    sizes = scale_sizes(background_wh, object_wh, 5)
    ranked = rank_placements(heat, sizes, background_wh, k=200)
    expected = released_ranking(heat, sizes.tolist(), background_wh, 200)
    assert ranked.cells.tolist() == [list(cell) for cell, _ in expected]
    assert ranked.boxes_xywh.tolist() == [box for _, box in expected]
    assert torch.equal(ranked.scores, heat[tuple(ranked.cells.T)])


def test_sizes_follow_the_side_that_fills_the_background_first():
    # A third of the height 90, then of the width 120; 10 / 18 of it is cut off.
    assert scale_sizes((120, 90), (10, 30), 1).tolist() == [[10, 30]]
    assert scale_sizes((120, 90), (30, 10), 1).tolist() == [[40, 13]]
    assert scale_sizes((120, 90), (2000, 1), 1).tolist() == [[40, 1]]


def test_a_tiny_object_has_no_border_and_a_large_one_few_cells():
    heat = torch.zeros(1, 8, 8)
    heat[0, 0, 7], heat[0, 4, 4] = 0.9, 0.5
    tiny = rank_placements(heat, torch.tensor([[1, 1]]), (8, 8), k=100)
    assert len(tiny.scores) == 64 and tiny.cells[0].tolist() == [0, 0, 7]
    # Half of 6 of 8 columns and rows on each side: 2 x 2 cells remain.
    large = rank_placements(heat, torch.tensor([[6, 6]]), (8, 8), k=100)
    assert large.cells.tolist() == [[0, 4, 4], [0, 3, 3], [0, 3, 4], [0, 4, 3]]
    none = rank_placements(heat, torch.tensor([[8, 8]]), (8, 8), k=100)
    assert none.boxes_xywh.shape == (0, 4)


def test_a_window_keeps_peaks_only():
    heat = torch.zeros(3, 9, 9)
    heat[0, 4, 4], heat[1, 4, 5], heat[2, 8, 8] = 0.5, 0.9, 0.7
    sizes = torch.ones(3, 2, dtype=torch.int64)
    peaks = rank_placements(heat, sizes, (9, 9), k=2, window=3)
    assert peaks.cells.tolist() == [[1, 4, 5], [2, 8, 8]]
    with pytest.raises(ValueError, match='odd'):
        rank_placements(heat, sizes, (9, 9), window=2)
    with pytest.raises(ValueError, match='scores are NaN'):
        rank_placements(heat * torch.nan, sizes, (9, 9))


PIPELINE = [dict(type='PrepareTopNetPairScales', size=64, num_scales=4),
            dict(type='PackPlacement')]


@pytest.fixture(scope='module')
def dataset():
    return DATASETS.build(dict(type='ShapesPlacements', num_pairs=2, labels='all',
                               size=96, pipeline=PIPELINE))


def test_canvases_hold_the_object_in_the_middle_at_each_size(dataset):
    item = dataset[0]
    objects = item['inputs']['object']
    assert objects.shape == (4, 4, 64, 64) and objects.dtype == torch.uint8
    sizes = scale_sizes((96, 96), item['data_samples'].object_wh, 4)
    for canvas, (width, height) in zip(objects, sizes.tolist(), strict=True):
        rows, cols = (np.flatnonzero(canvas[3].amax(axis)) for axis in (1, 0))
        for inside, side in ((rows, height), (cols, width)):
            assert abs(inside[0] + inside[-1] - 63) <= 2
            assert abs(len(inside) - side * 64 / 96) <= 3
    assert not objects[0, :, :10].any()


@torch.no_grad()
def test_a_test_step_over_scales_gives_ranked_boxes(dataset):
    torch.manual_seed(0)
    net = MODELS.build(dict(
        type='TopNetPair', size=64, layers=1, test_cfg=dict(k=7))).eval()
    items = [dataset[0], dataset[1]]
    batch = dict(
        inputs={name: [item['inputs'][name] for item in items]
                for name in ('background', 'object')},
        data_samples=[item['data_samples'] for item in items])
    normalized = net.data_preprocessor(batch)['inputs']['object']
    first = batch['inputs']['object'][0][:, 0].float()
    torch.testing.assert_close(normalized[0, :, 0], (first - 123.675) / 58.395)
    assert normalized[:, :, 3].amax() == 1
    for sample in net.test_step(batch):
        assert sample.boxes_xywh.shape == (7, 4) and 'heat' not in sample
        assert (sample.scores.diff() <= 0).all()
        ends = sample.boxes_xywh[:, :2] + sample.boxes_xywh[:, 2:]
        assert (sample.boxes_xywh >= 0).all() and (ends <= 96).all()


def test_the_number_of_scales_is_checked():
    with pytest.raises(ValueError, match='num_scales must be 1 or more, got 0'):
        TRANSFORMS.build(dict(type='PrepareTopNetPairScales', num_scales=0))
