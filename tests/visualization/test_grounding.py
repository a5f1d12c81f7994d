"""Drawings of what was found for phrases."""
import numpy as np
import pytest

from mmcontrast.structures import GroundedPhrase
from mmcontrast.visualization.grounding import draw_phrases, draw_proposals

IMAGE = np.full((50, 100, 3), (200, 100, 50), np.uint8)


def found(phrase='the cup', exists=True, boxes=((40, 10, 90, 40),), prob=0.9):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.2, len(boxes), dtype=np.float32)
    mask = np.zeros((50, 100), bool)
    mask[10:40, 40:90] = exists
    kept = len(boxes) if exists else 0
    return GroundedPhrase(phrase, exists, prob, boxes[:kept], scores[:kept], mask,
                          boxes, scores)


def panels(sheet):
    """The image and the first panel of a sheet, without the margins."""
    pixels = np.asarray(sheet)
    return pixels[30:240, 10:430], pixels[30:240, 440:860]


def test_the_mask_is_tinted_and_the_rest_is_the_image():
    image, panel = panels(draw_phrases(IMAGE, [found()], 'photo.jpg'))
    assert (image == (200, 100, 50)).all()
    # 100 columns are 420: the box ends at 168 and 378, the mask is inside of it.
    assert (panel[:, :160] == (200, 100, 50)).all()
    # 0.45 of the way from the image to (0, 200, 255).
    assert panel[100, 250].tolist() == [110, 145, 142]


def test_a_phrase_that_is_not_there_has_a_gray_and_pale_panel():
    _, panel = panels(draw_phrases(IMAGE, [found(exists=False)], 'photo.jpg'))
    assert (panel == panel[0, 0]).all()
    # The mean 116.67 and white, 0.55 of it.
    assert panel[0, 0].tolist() == [193, 193, 193]


@pytest.mark.parametrize('count', [1, 5, 30])
def test_every_phrase_has_a_panel(count):
    one = draw_phrases(IMAGE, [found('a very long phrase ' * 9)] * count, 'photo.jpg')
    assert one.width >= 360 and one.height < 2.5 * one.width


@pytest.mark.parametrize('box', [(0, 0, 100, 50), (99.9, 49.9, 100, 50), (0, 0, 0, 0)])
def test_boxes_at_the_edge_are_drawn(box):
    for draw in (draw_phrases, draw_proposals):
        assert draw(IMAGE, [found(boxes=(box,), prob=None)], 'photo.jpg').width > 400


def test_proposals_have_a_row_for_each_phrase():
    boxes = [(i, 0, 50 + i, 40) for i in range(20)]
    one = draw_proposals(IMAGE, [found(boxes=boxes)], 'photo.jpg')
    two = draw_proposals(IMAGE, [found(boxes=boxes)] * 2, 'photo.jpg')
    # 23 lines of 20 pixels, the name below and a gap.
    assert two.height - one.height == 23 * 20 + 30
    assert np.ptp(np.asarray(one)[40:200, 20:400], axis=(0, 1)).min() > 50


def test_panels_of_narrow_images_have_room_for_their_captions():
    tall = np.zeros((400, 20, 3), np.uint8)
    one = GroundedPhrase('x', False, None, np.zeros((0, 4)), np.zeros(0),
                         np.zeros((400, 20), bool), np.zeros((1, 4)), np.zeros(1))
    assert draw_phrases(tall, [one], 'photo.jpg').width == 10 + 2 * 200
