import numpy as np
import pytest
from PIL import Image

from mmcontrast.methods.slotcon.drawing import SlotRow, draw_nearest, mark_region

LEFT = np.s_[:, :20]


@pytest.fixture
def image():
    image = np.full((40, 60, 3), (30, 60, 90), np.uint8)
    image[LEFT] = (200, 100, 0)
    return image


def test_a_marked_region_keeps_its_pixels_and_the_rest_pales_to_gray(image):
    mask = np.zeros((40, 60), bool)
    mask[5:10, 15:25] = True
    found = mark_region(image, mask)
    assert (found[mask] == image[mask]).all()
    # Mean of (30, 60, 90) is 60, of (200, 100, 0) 100: .45 * 60 + 127.5 = 154.5.
    assert (found[:, 30:] == 154).all() and (found[20:, :20] == 172).all()


def test_nearest_sheet_has_a_row_a_slot_and_nothing_at_its_edges():
    red, blue = (np.full((50, 50, 3), c, np.uint8) for c in ((250, 0, 0), (0, 0, 250)))
    rows = [SlotRow(7, ['99.9 % of all cells'], [red, blue], ['0.91', 'b' * 99]),
            SlotRow(2047, ['x'], [blue], ['0.5'])]
    sheet = draw_nearest(rows, 'a title\nof two lines', side=80)
    pixels = np.asarray(sheet)
    # A head of 2 * 20 + 10, then rows of 80 + 20 + 10.
    assert sheet.height == 50 + 10 + 2 * 110
    left = sheet.width - 2 * 90 - 10
    assert (pixels[60 + 40, left + 40] == (250, 0, 0)).all()
    assert (pixels[60 + 40, left + 130] == (0, 0, 250)).all()
    assert (pixels[170 + 40, left + 40] == (0, 0, 250)).all()
    assert (pixels[170 + 40, left + 130] == 255).all()
    for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
        assert (edge == 255).all()
    assert Image.fromarray(pixels).mode == 'RGB'
