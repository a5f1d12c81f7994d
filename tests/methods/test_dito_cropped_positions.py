"""Cropped position embeddings: the regions drawn, and the table they are cropped from.
"""
import math

import pytest
import torch
import torch.nn.functional as F

from mmcontrast.methods.dito.cropped_positions import (
    CroppedPositions,
    crop_table,
    cropped_regions,
)


def slow_crop(table, region, height, width, size):
    """The same, cell by cell from the resized table."""
    side = math.isqrt(len(table))
    grid = table.T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, (size, size), mode='bilinear', align_corners=False)[0]
    x1, y1, x2, y2 = region
    rows = []
    for i in range(height):
        for j in range(width):
            y = y1 + (i + .5) * (y2 - y1) / height
            x = x1 + (j + .5) * (x2 - x1) / width
            total = 0
            for a, wy in ((math.floor(y), 1 - y % 1), (math.floor(y) + 1, y % 1)):
                for b, wx in ((math.floor(x), 1 - x % 1), (math.floor(x) + 1, x % 1)):
                    cell = grid[:, min(a, size - 1), min(b, size - 1)]
                    total = total + wy * wx * cell
            rows.append(total)
    return torch.stack(rows)


def test_a_crop_is_bilinear_samples_of_the_resized_table():
    table = torch.randn(25, 3, dtype=torch.double,
                        generator=torch.Generator().manual_seed(0))
    regions = [[0., 0., 16., 16.], [3.2, 1.5, 12.7, 9.9], [10., 9., 16., 16.]]
    got = crop_table(table, torch.tensor(regions), 4, 6, 16)
    for each, region in zip(got, torch.tensor(regions).tolist(), strict=True):
        torch.testing.assert_close(each, slow_crop(table, region, 4, 6, 16))


def test_gradients_reach_the_table():
    table = torch.zeros(9, 2, requires_grad=True)
    crop_table(table, torch.tensor([[0., 0., 8., 8.]]), 3, 3, 8).sum().backward()
    # Bilinear weights of each cell add up to one: nine cells, spread over the table.
    assert table.grad.sum(0).tolist() == pytest.approx([9, 9])
    assert (table.grad > 0).all()


def test_positions_are_computed_in_float32_under_autocast():
    table = torch.randn(196, 4)
    module, draws = CroppedPositions(), torch.rand(2, 10, 4)
    with torch.autocast('cpu', torch.bfloat16):
        assert module(table, draws, 14, 14).equal(module(table, draws, 14, 14))
        low = module(table, draws, 14, 14)
    assert low.dtype == torch.float32 and low.equal(module(table, draws, 14, 14))
    assert module(table.half(), draws, 14, 14).dtype == torch.float16


def test_a_region_has_the_area_ratio_and_position_drawn():
    # Half the range of areas, (0.1 + 1) / 2; square; in the lower left corner.
    x1, y1, x2, y2 = cropped_regions(torch.tensor([[[.5, .5, 1., 0.]]]))[0].tolist()
    side = .55 ** .5
    assert (x1, y1, x2, y2) == pytest.approx((0, 1 - side, side, 1))
    # Ratio 2, height to width.
    x1, y1, x2, y2 = cropped_regions(torch.tensor([[[.1, 1., 0., 0.]]]))[0].tolist()
    assert (y2 - y1) / (x2 - x1) == pytest.approx(2)
    assert x2 * y2 == pytest.approx(.19)


def test_the_first_try_that_fits_is_taken_and_the_whole_without_one():
    too_high, too_wide = [.99, 1., .5, .5], [.99, 0., .5, .5]
    small, other = [0., .5, 0., 0.], [.2, .5, 1., 1.]
    got = cropped_regions(torch.tensor([
        [too_high, small, other], [other, small, small], [too_high, too_wide, too_high]]
    )).tolist()
    side = .1 ** .5
    assert got[0] == pytest.approx([0, 0, side, side])
    assert got[1] == pytest.approx([1 - .28 ** .5, 1 - .28 ** .5, 1, 1])
    assert got[2] == [0, 0, 1, 1]


def test_regions_lie_in_the_square_with_the_least_area():
    module = CroppedPositions(size=64)
    torch.manual_seed(0)
    x1, y1, x2, y2 = module.regions(module.draw(2000)).unbind(1)
    assert min(x1.min(), y1.min()) >= 0 and max(x2.max(), y2.max()) <= 64 + 1e-4
    area = (x2 - x1) * (y2 - y1) / 64 ** 2
    assert .1 - 1e-5 <= area.min() < .12 and area.max() > .9
    ratio = (y2 - y1) / (x2 - x1)
    assert ratio.min() > .5 - 1e-4 and ratio.max() < 2 + 1e-4


def test_a_table_with_a_class_token_is_an_error():
    with pytest.raises(ValueError, match=r'without a class token; got \(197, 8\)'):
        crop_table(torch.zeros(197, 8), torch.zeros(1, 4), 14, 14)


@pytest.mark.parametrize('settings', [
    dict(size=0), dict(num_tries=0), dict(min_area=0.), dict(max_aspect=.9)])
def test_impossible_settings_are_errors(settings):
    with pytest.raises(ValueError, match='max_aspect='):
        CroppedPositions(**settings)
