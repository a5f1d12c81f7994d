"""Pictures of placements: composites in order, boxes, dots and sheets."""
import numpy as np
import torch

from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.drawing import (
    draw_placement_maps,
    draw_placements,
    on_checkerboard,
    paste_in_order,
    with_boxes,
    with_dots,
)
from mmcontrast.visualization.sheet import SheetRow, image_sheet
from tests.helpers.tiny_topnet import rgba, scene

CUTOUT = CutOut.from_rgba(rgba())
COLORS = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)


def changed(image, other):
    """(top, bottom, left, right) of the pixels that differ, ends exclusive."""
    rows, columns = np.nonzero((image != other).any(2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_each_composite_adds_one_object_in_its_box():
    background = scene()
    first, second = paste_in_order(
        background, [CUTOUT] * 2, [(10, 20, 20, 30), (60, 4, 10, 15)], feather=0)
    assert changed(background, first) == (20, 50, 10, 30)
    assert changed(first, second) == (4, 19, 60, 70)
    # The middle of the ellipse is opaque.
    assert second[11, 65].tolist() == first[35, 20].tolist() == [200, 30, 40]


def test_feathered_edges_are_softer_than_the_cut_out():
    background = np.zeros((64, 96, 3), np.uint8)
    reds = [paste_in_order(background, [CUTOUT], [(10, 20, 20, 30)], feather)[0][35, :,
                                                                                0]
            for feather in (0, 4)]
    assert reds[0][10] > 150 and 0 < reds[1][10] < 50 and reds[1][20] == 200


def test_the_best_box_is_drawn_on_top_and_in_its_place():
    tile = np.full((60, 100, 3), 90, np.uint8)
    box = np.array([[30., 10, 50, 48]])
    drawn = with_boxes(tile, np.concatenate([box, box]), COLORS)
    # Left, right and bottom edges, below the number.
    for y, x in ((40, 30), (40, 79), (57, 60)):
        assert drawn[y, x].tolist() == [255, 0, 0]
    assert drawn[40, 29].tolist() == [0, 0, 0] and drawn[40, 60].tolist() == [90] * 3


def test_boxes_that_leave_the_tile_keep_their_number_in_it():
    tile = np.full((60, 100, 3), 90, np.uint8)
    drawn = with_boxes(tile, np.array([[-30., -20, 60, 58]]), COLORS[:1])
    assert drawn[2, 1].tolist() == [255, 0, 0]


def test_dots_lie_at_the_centers_of_boxes():
    tile = np.full((60, 100, 3), 90, np.uint8)
    drawn = with_dots(tile, np.array([[10., 10, 20, 30], [50, 20, 20, 10]]), COLORS)
    assert drawn[25, 20].tolist() == [255, 0, 0]
    assert drawn[25, 60].tolist() == [0, 255, 0]
    assert changed(tile, drawn) == (19, 32, 14, 67)


def test_an_object_is_shown_whole_in_the_middle_of_its_tile():
    tile = on_checkerboard(CUTOUT, (100, 60))
    empty = on_checkerboard(CutOut.from_rgba(
        np.full((1, 1, 4), 255, np.uint8)), (100, 60))
    assert set(np.unique(tile[:, :20])) == {205, 235} and empty.shape == (60, 100, 3)
    reds = np.argwhere(tile[..., 1] < 60)
    # 20 x 30 at 0.9 of the height: 36 x 54.
    assert abs(np.ptp(reds, axis=0) + 1 - (54, 36)).max() <= 1
    assert abs(reds.mean(0) - (29.5, 49.5)).max() < 1


def test_headings_stand_above_the_columns_they_name():
    tile = np.full((40, 80, 3), 90, np.uint8)
    rows = [SheetRow([tile, tile], 'a', [(None, 'b')])]
    plain, headed = (np.asarray(image_sheet(rows, 80, headings=headings))
                     for headings in ((), ('one', 'two')))
    height = len(headed) - len(plain)
    assert height == 20 and (headed[30:] == plain[10:]).all()
    ink = np.nonzero((headed[:30] < 128).any((0, 2)))[0]
    assert ink.min() >= 10 and ((ink > 45) & (ink < 100)).sum() == 0
    assert (ink >= 100).any()


def test_a_sheet_has_a_row_for_each_object_and_marks_the_map():
    heats = [torch.zeros(4, 16, 16) for _ in range(2)]
    heats[0][2, 8, 3] = 0.75
    background, boxes = scene(), np.array([[10., 10, 20, 30]])
    sheets = []
    for count in (1, 2):
        composites = paste_in_order(background, [CUTOUT] * count,
                                    np.repeat(boxes, count, 0))
        sheets.append(draw_placements(
            background, [CUTOUT] * count, ['cup', 'lamp'][:count], heats[:count],
            [boxes, boxes[:0]][:count], [np.array([0.75]), np.zeros(0)][:count],
            composites, 'scene', width=96))
    one, two = sheets
    assert one.width > 4 * 96 and two.height - one.height == 64 + 30
    # The brightest pixel of the map: column 3.5 of 16 in the second tile.
    tile = np.asarray(one)[30:94, 116:212].astype(int).sum(2)
    tile[:, 15:36] = 0  # the dot
    assert tile.max() < 500


def test_a_sheet_of_very_many_objects_can_be_saved(tmp_path):
    background, boxes, count = scene(32, 320), np.array([[10., 10, 20, 30]]), 200
    sheet = draw_placements(
        background, [CUTOUT] * count, ['cup'] * count, [torch.zeros(2, 4, 4)] * count,
        [boxes] * count, [np.array([0.75])] * count, [background] * count, 'scene')
    sheet.save(tmp_path / 'sheet.jpg')
    assert 50000 < sheet.height < 65500


def test_the_maps_of_all_sizes_are_drawn_with_their_scale():
    heat = torch.rand(4, 16, 16)
    sheet = draw_placement_maps(scene(), heat, torch.tensor([.1, .2, .3, .4]), 'a in b')
    assert sheet.width > 430 and sheet.height > 300
