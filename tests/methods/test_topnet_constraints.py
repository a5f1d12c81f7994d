"""What users ask of placements: exact sizes and points, regions, several objects."""
import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, box_iou

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet import PlacementGrid, decoding
from mmcontrast.methods.topnet.candidates import Candidates
from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.placement_search import PlacementSearch

# Cells of 6 x 4 pixels.
GRID, WH, OBJECT = PlacementGrid((16, 16), 4), (96, 64), (20, 30)


def heat_of(count=1, seed=0):
    return torch.rand(count, *GRID.shape, generator=torch.Generator().manual_seed(seed))


def decode(heat, options=None, object_wh=OBJECT, **constraints):
    """The best boxes inside."""
    options = options or {}
    limits = Constraints(**constraints, inside=options.get('keep_inside', True))
    return decoding.decode(
        heat, GRID, WH, object_wh, **options, constraints=limits)


def search(heats, sizes, names=None, **options):
    names = names or [f'object {i}' for i in range(len(heats))]
    return PlacementSearch(names, **options)(heats, GRID, WH, sizes)


def inside(x, y, width, height):
    return x >= 0 and y >= 0 and x + width <= WH[0] and y + height <= WH[1]


def moved(start, length, side, cell):
    """The start of a box that leaves by half a cell at most, moved inside, or None."""
    within = min(max(start, 0), side - length)
    return within if abs(within - start) <= cell / 2 else None


def test_a_fixed_size_is_met_exactly_at_the_best_position_inside():
    heat = heat_of()[0]
    # 20 x 30 fills 45 x 30 in height; 30 / 64 of the height is in bin 1 of 4.
    found = decode(heat, size=(45, 30), options=dict(window=1, k=40))
    wanted = []
    for j in range(16):
        for i in range(16):
            x = moved((i + .5) * 6 - 10, 20, 96, 6)
            y = moved((j + .5) * 4 - 15, 30, 64, 4)
            if x is not None and y is not None:
                wanted.append((heat[1, j, i].item(), [1, j, i], [x, y, 20, 30]))
    wanted = sorted(wanted, reverse=True)[:40]
    assert found.cells.tolist() == [cell for _, cell, _ in wanted]
    assert found.boxes_xywh.tolist() == [pytest.approx(box) for *_, box in wanted]
    assert {0., 76.} & set(found.boxes_xywh[:, 0].tolist())  # some were moved
    same = decode(heat, scale=30 / 64, options=dict(window=1, k=40))
    torch.testing.assert_close(same.boxes_xywh, found.boxes_xywh)


@pytest.mark.parametrize('given', [dict(scale=1), dict(size=WH),
                                   dict(scale=1, at=(48, 32))])
def test_an_object_can_fill_the_background(given):
    # No cell has its center in the middle of the background.
    full = decode(heat_of()[0], object_wh=(48, 32), **given)
    assert full.boxes_xywh[0].tolist() == pytest.approx([0, 0, 96, 64])
    tall = decode(heat_of()[0], object_wh=(10, 32), **given)
    assert tall.boxes_xywh[0, [1, 2, 3]].tolist() == pytest.approx([0, 20, 64])


def test_a_size_that_rounding_makes_larger_than_the_background_fits():
    for side in (187, 273, 275, 279, 287):
        assert 96 / side * side > 96
        found = decode(heat_of()[0], size=WH, object_wh=(side, 31))
        assert found.boxes_xywh[0, [0, 2]].tolist() == pytest.approx([0, 96])


def test_a_fixed_point_is_the_exact_center_of_every_size():
    heat = heat_of(seed=1)[0]
    found = decode(heat, at=(41.5, 27.25), options=dict(window=1))
    # Column floor(41.5 / 6), row floor(27.25 / 4); heights 8, 24, 40, 56 of 64.
    wanted = sorted(((heat[s, 6, 6].item(), s) for s, h in enumerate((8, 24, 40, 56))
                     if inside(41.5 - h / 3, 27.25 - h / 2, h * 2 / 3, h)),
                    reverse=True)
    assert [cell[0] for cell in found.cells.tolist()] == [s for _, s in wanted]
    assert len(wanted) == 3  # 56 pixels around row 27 leave the image
    centers = found.boxes_xywh[:, :2] + found.boxes_xywh[:, 2:] / 2
    torch.testing.assert_close(
        centers, torch.tensor([[41.5, 27.25]] * 3, dtype=torch.float64))


def test_point_and_size_together_give_that_box_and_its_score():
    heat = heat_of(seed=2)[0]
    found = decode(heat, at=(50, 30), scale=0.25)
    assert found.boxes_xywh.tolist() == [
        pytest.approx([50 - 16 / 3, 22, 32 / 3, 16])]
    assert found.scores[0] == heat[1, 7, 8]


def test_cells_whose_box_covers_a_pixel_to_avoid_are_ruled_out():
    mask = np.zeros((64, 96), bool)
    mask[10, 20] = mask[40:44, 70:90] = True
    sizes = [torch.tensor([pair], dtype=torch.float64) for pair in (WH, OBJECT)]
    heat = Candidates(heat_of(), GRID, *sizes, Constraints(avoid=mask)).heat
    cells = torch.cartesian_prod(*map(torch.arange, GRID.shape))
    boxes = GRID.boxes(cells, WH, OBJECT)
    for cell, (x, y, w, h) in zip(cells.tolist(), boxes.tolist(), strict=True):
        part = mask[max(0, math.floor(y + 1e-6)):max(0, math.ceil(y + h - 1e-6)),
                    max(0, math.floor(x + 1e-6)):max(0, math.ceil(x + w - 1e-6))]
        assert (heat[0][tuple(cell)] == -math.inf) == bool(part.any()), cell


def test_the_best_box_inside_is_found_beside_a_maximum_outside():
    heat = torch.zeros(GRID.shape)
    heat[2] = torch.linspace(1, 0, 16)  # falls from left to right
    heat[2, 8] += 0.1
    # 40 rows and 26.7 columns: the first column inside is 2.
    assert decode(heat, scale=0.625).cells[0].tolist() == [2, 8, 2]
    outside = decode(heat, scale=0.625, options=dict(keep_inside=False))
    assert outside.cells[0].tolist() == [2, 8, 0]
    # Also where nothing else is asked for.
    assert decode(heat).cells[0].tolist() == [2, 8, 2]
    # The protocol of the metrics: maxima first.
    protocol = decoding.decode(heat, GRID, WH, OBJECT, k=99)
    assert [2, 8, 2] not in protocol.cells.tolist()


def test_a_map_that_rises_toward_a_corner_has_a_place():
    rise = torch.linspace(0, 1, 16)
    heat = (rise[:, None] + rise).expand(GRID.shape) / 2
    (found,), order = search([heat], [OBJECT])
    cells = torch.cartesian_prod(*map(torch.arange, GRID.shape))
    best = max(heat[tuple(cell)].item() for cell in cells
               if inside(*GRID.boxes(cell[None], WH, OBJECT)[0].tolist()))
    assert order == [0] and found.scores[0].item() == best > 0.9


def test_the_center_that_must_be_allowed_is_that_of_the_box_not_of_its_cell():
    # Cells of 10 pixels, so the centers of these are at 105.
    grid, wh, heat = PlacementGrid((48, 48), 4), (480, 480), torch.rand(4, 48, 48)
    for x, end, count in ((109, 106, 0), (102.9, 103, 1), (102.9, 102, 0)):
        allow = np.zeros((480, 480), bool)
        allow[:, :end] = True
        found = decoding.decode(heat, grid, wh, (1, 1), constraints=Constraints(
            at=(x, 240), scale=0.1, allow=allow))
        assert len(found) == count, (x, end)


def test_boxes_to_avoid_and_a_mask_of_centers_are_kept():
    allow = np.zeros((64, 96), bool)
    allow[:, :48] = True
    found = decode(heat_of()[0], avoid=[[0, 0, 96, 20], [0, 50, 10, 10]], allow=allow,
                   options=dict(k=50, window=1))
    boxes = found.boxes_xywh
    assert len(boxes) == 50 and (boxes[:, 1] >= 20).all()
    assert (boxes[:, 0] + boxes[:, 2] / 2 < 48).all()


@pytest.mark.parametrize('name', ['avoid', 'allow'])
def test_masks_may_be_gray_or_of_zeros_and_ones(name):
    mask = np.zeros((64, 96), bool)
    mask[:, :60] = True
    heat, options = heat_of()[0], dict(window=1, k=200)
    wanted = decode(heat, options, **{name: mask}).cells.tolist()
    gray = np.where(mask, 200, 3).astype(np.uint8)     # the noise of a JPEG
    for given in (gray, mask.astype(np.uint8), 255 * mask.astype(np.int64),
                  mask.astype(np.float32), torch.from_numpy(mask)):
        assert decode(heat, options, **{name: given}).cells.tolist() == wanted


def test_exact_constraints_of_a_batch_are_those_of_its_maps():
    heats, sizes = heat_of(3), torch.tensor([[96, 64], [64, 96], [96, 64]])
    for given in (dict(at=(40, 30)), dict(size=(30, 30)), dict(scale=0.3)):
        constraints = Constraints(**given)
        many = decoding.decode_batch(
            heats, GRID, sizes, OBJECT, constraints=constraints)
        for heat, size, found in zip(heats, sizes, many, strict=True):
            alone = decoding.decode(heat, GRID, size, OBJECT, constraints=constraints)
            assert torch.equal(found.boxes_xywh, alone.boxes_xywh) and len(found)


@pytest.mark.parametrize('given, message', [
    (dict(at=(96.5, 10)), r'point \(96.5, 10\) lies outside of the background of 96 x'),
    (dict(avoid=[[0, 0, 5, 5], [96, 3, 4, 4]]),
     'avoid: the box x=96, y=3, width=4, height=4 covers nothing of the background of '
     '96 x 64 pixels'),
    (dict(avoid=np.zeros((5, 5), bool)),
     r'avoid is a mask of shape \(5, 5\), but the .* boxes would be \(M, 4\)'),
    (dict(allow=np.ones((5, 5), bool)), 'allow is a mask .* and 96 columns'),
    (dict(size=(1e-300, 5)), 'smaller than one pixel with size=.1e-300, 5.'),
    (dict(scale=1e-9), 'smaller than one pixel with scale=1e-09. Ask for a larger'),
    (dict(size=(200, 65)), '43.3333 x 65 pixels, larger than the scene of 96 x 64')])
def test_what_a_background_cannot_meet_is_explained(given, message):
    Constraints(**given)  # nothing is wrong with them before there is a background
    with pytest.raises(UserValueError, match=message):
        decode(heat_of()[0], **given)


@pytest.mark.parametrize('given, message', [
    (dict(at=(1, 2, 3)), 'at must be two numbers'),
    (dict(at=5), 'at must be two numbers'),
    (dict(size=(math.nan, 5)), 'size must be two numbers'),
    (dict(size=(0, 5)), 'size must be above 0'),
    (dict(scale=1.2), 'above 0 and at most 1; got 1.2'),
    (dict(scale='0.3'), 'above 0 and at most 1; got 0.3'),
    (dict(size=(5, 5), scale=0.5), r'size=\(5, 5\) and scale=0.5 both fix the size'),
    (dict(scale=0.5, fixed_scale=1), 'scale=0.5 and fixed_scale=1 both fix the size'),
    (dict(at=(1, 2), fixed_cell=(3, 4)), 'both fix the position'),
    (dict(allow=np.zeros((64, 96), bool)), 'allows no pixel'),
    (dict(avoid=np.full((64, 96), np.nan)), 'avoid is a mask that holds NaN'),
    (dict(allow=np.full((64, 96), np.inf)), 'allow is a mask that holds NaN or inf'),
    (dict(allow=np.ones((64, 96, 3))), r'allow must be a mask .*\(64, 96, 3\)'),
    (dict(avoid=[[1, 2, 3]]), r'avoid must be \(N, 4\) boxes .*\(1, 3\).* mask is an'),
    (dict(avoid=[[1, 2, 3, 4], [5, 6]]), r'avoid must be .*got \[\[1, 2, 3, 4\], \[5'),
    (dict(avoid=[['a', 'b', 'c', 'd']]), 'avoid must be .* boxes')])
def test_constraints_that_no_background_can_meet_are_errors_at_once(given, message):
    with pytest.raises(UserValueError, match=message):
        Constraints(**given)


def overlap(first, second):
    return box_iou(*(box_convert(box[None], 'xywh', 'xyxy')
                     for box in (first, second))).item()


def greedy(heats, sizes):
    """All that are left are ranked again at every step."""
    left, taken, order = list(range(len(heats))), [], []
    while left:
        found = {i: decode(heats[i], object_wh=sizes[i], avoid=torch.stack(taken)
                           if taken else None) for i in left}
        best = max(left, key=lambda i: found[i].scores[0].item())
        taken.append(found[best].boxes_xywh[0])
        order.append(best)
        left.remove(best)
    return order, taken


def test_objects_are_placed_best_first_and_keep_out_of_each_other():
    heats, sizes = heat_of(4, seed=3), [(20, 30), (30, 20), (10, 10), (12, 30)]
    found, order = search(heats, sizes)
    wanted_order, wanted = greedy(heats, sizes)
    assert order == wanted_order
    boxes = [found[i].boxes_xywh[0] for i in order]
    for box, other in zip(boxes, wanted, strict=True):
        torch.testing.assert_close(box, other)
    assert max(overlap(boxes[i], boxes[j]) for i in range(4) for j in range(i)) < 1e-9
    together, _ = search(heats, sizes, overlap=True)
    for ranked, heat, size in zip(together, heats, sizes, strict=True):
        alone, = search([heat], [size])[0]
        torch.testing.assert_close(ranked.boxes_xywh, alone.boxes_xywh)


def test_the_first_object_is_that_of_the_best_box_inside():
    heats = torch.zeros(2, *GRID.shape)
    # 26.7 columns wide: of its ridge, the second cell lies inside.
    heats[0, 2, 8, 1], heats[0, 2, 8, 2], heats[0, 0, 3, 3] = 1, 0.9, 0.5
    heats[1, 0, 8, 12] = 0.7
    found, order = search(heats, [OBJECT] * 2)
    assert order == [0, 1]
    assert [ranked.scores[0].item() for ranked in found] == pytest.approx([0.9, 0.7])


def test_masks_and_boxes_to_avoid_hold_for_all_objects():
    mask = np.zeros((64, 96), bool)
    mask[:, 40:] = True
    sizes = [(8, 8), (16, 8), (8, 12)]
    for avoid in (mask, [[40, 0, 56, 64]]):
        found, order = search(heat_of(3), sizes, avoid=avoid, scale=0.2)
        assert sorted(order) == [0, 1, 2]
        for ranked in found:
            assert (ranked.boxes_xywh[:, 0] + ranked.boxes_xywh[:, 2]).max() < 40 + 1e-9


def test_an_object_without_a_place_has_no_box():
    # 72 of 96 columns and 48 of 64 rows: there is room for one.
    found, order = search(heat_of(2), [(30, 20)] * 2, scale=0.75)
    assert len(order) == 1 and sorted(map(len, found))[0] == 0


def test_no_place_at_all_is_an_error_that_says_what_was_asked():
    message = ('no place is left for cup with scale=0.5, avoid: no box inside the '
               'background of 96 x 64 pixels meets all that is asked')
    with pytest.raises(UserValueError, match=message):
        search(heat_of(), [OBJECT], ['cup'], scale=0.5, avoid=[[0, 0, 96, 64]])


def test_scores_that_are_not_numbers_are_an_error_of_every_search():
    heats = heat_of(2)
    heats[1] = torch.nan
    for constraints in (None, Constraints(inside=True), Constraints(scale=0.5)):
        with pytest.raises(UserValueError, match='scores are NaN'):
            decoding.decode_batch(heats, GRID, WH, OBJECT, constraints=constraints)
    heats[1] = 0.5
    heats[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserValueError, match='scores are NaN'):
        search(heats, [OBJECT] * 2)


def test_one_point_for_several_objects_is_an_error():
    with pytest.raises(UserValueError, match='one place, but there are 2 objects: a,'):
        PlacementSearch(['a', 'b'], at=(40, 30))
    PlacementSearch(['a', 'b'], at=(40, 30), overlap=True)


@pytest.mark.parametrize('options, message', [
    (dict(k=0), 'k must be positive'), (dict(k=2.5), 'k must be positive .* k=2.5'),
    (dict(window='3'), "window='3'"), (dict(nms_iou='0.5'), "None, got '0.5'"),
    (dict(nms_iou=5), 'nms_iou must be from 0 to 1'),
    (dict(scale=1.2), 'at most 1')])
def test_options_of_a_search_are_checked_before_there_is_a_background(options, message):
    with pytest.raises(UserValueError, match=message):
        PlacementSearch(['cup'], **options)
