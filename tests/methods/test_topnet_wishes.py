"""What users ask of placements: exact sizes and points, regions, several objects."""
import math

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, box_iou

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet import PlacementGrid
from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.placing import place_objects
from mmcontrast.methods.topnet.wishes import Wishes

GRID, WH, OBJECT = PlacementGrid((16, 16), 4), (96, 64), (20, 30)


def heat_of(count=1, seed=0):
    return torch.rand(count, *GRID.shape, generator=torch.Generator().manual_seed(seed))


def decode(heat, **wishes):
    options = wishes.pop('options', {})
    return Wishes(**wishes, options=options).decode(heat, GRID, WH, OBJECT)


def inside(x, y, width, height):
    return x >= 0 and y >= 0 and x + width <= WH[0] and y + height <= WH[1]


def test_a_fixed_size_is_met_exactly_at_the_best_position_inside():
    heat = heat_of()[0]
    # 20 x 30 fills 45 x 30 in height; 30 / 64 of the height is in bin 1 of 4.
    found = decode(heat, size=(45, 30), options=dict(window=1, k=3))
    wanted = sorted(((heat[1, j, i].item(), j, i) for j in range(16) for i in range(16)
                     if inside((i + .5) * 6 - 10, (j + .5) * 4 - 15, 20, 30)),
                    reverse=True)[:3]
    assert found.cells.tolist() == [[1, j, i] for _, j, i in wanted]
    assert found.boxes_xywh.tolist() == [
        pytest.approx([(i + .5) * 6 - 10, (j + .5) * 4 - 15, 20, 30])
        for _, j, i in wanted]
    same = decode(heat, scale=30 / 64, options=dict(window=1, k=3))
    torch.testing.assert_close(same.boxes_xywh, found.boxes_xywh)


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


def test_cells_whose_box_covers_a_forbidden_pixel_are_ruled_out():
    mask = np.zeros((64, 96), bool)
    mask[10, 20] = mask[40:44, 70:90] = True
    sizes = [torch.tensor([pair], dtype=torch.float64) for pair in (WH, OBJECT)]
    heat, _ = Constraints(forbidden=torch.from_numpy(mask)).apply(
        heat_of(), GRID, *sizes)
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
    # The model's own predictions: maxima first.
    assert [2, 8, 2] not in decode(heat, options=dict(k=99)).cells.tolist()


def test_boxes_to_avoid_and_a_mask_of_centers_are_kept():
    allow = np.zeros((64, 96), bool)
    allow[:, :48] = True
    found = decode(heat_of()[0], avoid=[[0, 0, 96, 20], [0, 50, 10, 10]], allow=allow,
                   options=dict(k=50, window=1))
    boxes = found.boxes_xywh
    assert len(boxes) == 50 and (boxes[:, 1] >= 20).all()
    assert (boxes[:, 0] + boxes[:, 2] / 2 < 48).all()


@pytest.mark.parametrize('wishes, message', [
    (dict(at=(96.5, 10)), r'point \(96.5, 10\) lies outside of the background of 96 x'),
    (dict(at=(1, 2, 3)), 'at must be two numbers'),
    (dict(avoid=[[0, 0, 5, 5], [96, 3, 4, 4]]),
     'avoid: the box x=96, y=3, width=4, height=4 covers nothing of the background'),
    (dict(avoid=np.zeros((5, 5), bool)), r'avoid is a mask of shape \(5, 5\), but the'),
    (dict(allow=np.ones((5, 5), bool)), 'allow is a mask .* and 96 columns'),
    (dict(allow=np.zeros((64, 96), bool)), 'allows no pixel'),
    (dict(size=(200, 65)), '43.3333 x 65 pixels, larger than the scene of 96 x 64'),
    (dict(size=(0, 5)), 'size must be above 0'),
    (dict(scale=1.2), 'above 0 and at most 1; got 1.2'),
    (dict(size=(5, 5), scale=0.5), 'both fix the size')])
def test_a_wish_that_cannot_be_met_is_explained(wishes, message):
    with pytest.raises(UserValueError, match=message):
        decode(heat_of()[0], **wishes)


def overlap(first, second):
    return box_iou(*(box_convert(box[None], 'xywh', 'xyxy')
                     for box in (first, second))).item()


def greedy(heats, sizes):
    """All that are left are ranked again at every step."""
    left, taken, order = list(range(len(heats))), [], []
    while left:
        found = {i: Wishes(options={}).decode(heats[i], GRID, WH, sizes[i], taken)
                 for i in left}
        best = max(left, key=lambda i: found[i].scores[0].item())
        taken.append(found[best].boxes_xywh[0])
        order.append(best)
        left.remove(best)
    return order, taken


def test_objects_are_placed_best_first_and_keep_out_of_each_other():
    heats, sizes = heat_of(4, seed=3), [(20, 30), (30, 20), (10, 10), (12, 30)]
    found, order = place_objects(heats, GRID, WH, sizes)
    wanted_order, wanted = greedy(heats, sizes)
    assert order == wanted_order
    boxes = [found[i].boxes_xywh[0] for i in order]
    for box, other in zip(boxes, wanted, strict=True):
        torch.testing.assert_close(box, other)
    assert max(overlap(boxes[i], boxes[j]) for i in range(4) for j in range(i)) == 0
    alone, _ = place_objects(heats, GRID, WH, sizes, overlap=True)
    for own, heat, size in zip(alone, heats, sizes, strict=True):
        single, = place_objects([heat], GRID, WH, [size])[0]
        torch.testing.assert_close(own.boxes_xywh, single.boxes_xywh)


def test_an_object_without_a_place_has_no_box():
    # 72 of 96 columns and 48 of 64 rows: there is room for one.
    found, order = place_objects(heat_of(2), GRID, WH, [(30, 20)] * 2, scale=0.75)
    assert len(order) == 1 and sorted(map(len, found))[0] == 0


def test_no_place_at_all_is_an_error_that_says_what_was_asked():
    message = ('no place is left for cup with scale=0.5, avoid: no box inside the '
               'background of 96 x 64 pixels meets all that is asked')
    with pytest.raises(UserValueError, match=message):
        place_objects(heat_of(), GRID, WH, [OBJECT], ['cup'], scale=0.5,
                      avoid=[[0, 0, 96, 64]])


def test_one_point_for_several_objects_is_an_error():
    with pytest.raises(UserValueError, match='one place, but there are 2 objects'):
        place_objects(heat_of(2), GRID, WH, [OBJECT] * 2, at=(40, 30))
