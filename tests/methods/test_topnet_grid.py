"""Cells of TopNet's heat map, and the boxes they stand for."""
import pytest
import torch

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet import PlacementGrid, PlacementSample


def test_a_box_lies_in_the_cell_of_its_center_and_in_the_bin_of_its_longer_ratio():
    grid = PlacementGrid((4, 8), scales=10)
    # Background 80 x 20: cells of 10 x 5 pixels. Center (25, 12.5), ratio
    # max(10 / 80, 11 / 20) = 0.55.
    assert grid.cells(torch.tensor([[20., 7., 10., 11.]]), (80, 20)).tolist() == [
        [5, 2, 2]]


def test_bin_edges_are_met_exactly():
    grid = PlacementGrid((1, 1), scales=10)
    sizes = torch.arange(1, 11)
    boxes = torch.stack([0 * sizes, 0 * sizes, sizes, sizes], 1)
    # 3 / 10 in float32 is a little more, in float64 a little less than 0.3.
    assert grid.cells(boxes, (10, 10))[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]


def test_centers_outside_and_sizes_beyond_the_background_count_to_the_nearest_cell():
    grid = PlacementGrid((4, 4), scales=4)
    boxes = torch.tensor([[-50., 90, 10, 10], [100, 100, 0, 0], [0, 0, 300, 10]])
    assert grid.cells(boxes, (100, 100)).tolist() == [[0, 3, 0], [0, 3, 3], [3, 0, 3]]


def test_fopa_takes_the_nearest_of_its_scales_and_the_smaller_of_two():
    grid = PlacementGrid((1, 1), scales=2, binning='fopa')
    assert grid.ratios.tolist() == [0.25, 0.5]
    boxes = torch.tensor([[0., 0, w, 1] for w in (1, 37, 37.5, 38, 100)])
    assert grid.cells(boxes, (100, 100))[:, 0].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize('object_wh, size', [
    ((10, 5), (50, 25)), ((5, 10), (20, 40)), ((4, 3.2), (50, 40)), ((1, 1), (40, 40))])
def test_a_box_has_the_aspect_of_the_object_and_fits_the_ratio_on_one_side(
        object_wh, size):
    # Ratio 0.5 of 100 x 80: 50 pixels wide, or 40 high if the object is taller.
    grid = PlacementGrid((8, 10), scales=1)
    x, y, w, h = grid.boxes(torch.tensor([[0, 2, 3]]), (100, 80), object_wh)[0]
    assert (w, h) == pytest.approx(size)
    assert (x + w / 2, y + h / 2) == pytest.approx((35, 25))


@pytest.mark.parametrize('binning', ['uniform', 'fopa'])
def test_the_box_of_a_cell_lies_in_that_cell(binning):
    grid = PlacementGrid((6, 5), scales=7, binning=binning)
    cells = torch.cartesian_prod(*(torch.arange(n) for n in grid.shape))
    generator = torch.Generator().manual_seed(0)
    backgrounds, objects = 10 + 500 * torch.rand(
        2, len(cells), 2, generator=generator, dtype=torch.float64)
    boxes = grid.boxes(cells, backgrounds, objects)
    assert torch.equal(grid.cells(boxes, backgrounds), cells)


def test_many_backgrounds_at_once_are_those_one_by_one():
    grid = PlacementGrid((16, 16), scales=8)
    boxes = torch.tensor([[1., 2, 30, 40], [50, 60, 7, 8]])
    wholes = torch.tensor([[100, 200], [90, 70]])
    together = grid.cells(boxes, wholes)
    for i in range(2):
        assert torch.equal(grid.cells(boxes[i:i + 1], wholes[i])[0], together[i])


def test_an_unknown_binning_and_sizes_of_zero_are_errors():
    with pytest.raises(UserValueError, match="'unifrom': did you mean 'uniform'"):
        PlacementGrid(binning='unifrom')
    with pytest.raises(UserValueError, match='positive'):
        PlacementGrid((0, 4))


def test_boxes_of_a_sample_become_float64_tensors_of_four_columns():
    sample = PlacementSample(positives=[[1, 2, 3, 4]], negatives=[])
    assert sample.positives.dtype == torch.float64
    assert sample.negatives.shape == (0, 4)
    assert sample.to('cpu').positives.tolist() == [[1, 2, 3, 4]]
    for wrong in (torch.zeros(2, 3), [[1, 2, 3, 4], [5]], 'boxes'):
        with pytest.raises(UserValueError, match=r'boxes_xywh must be \(N, 4\)'):
            sample.boxes_xywh = wrong
