"""Pasted objects: where they lie, what they cover, how their edges look."""
import numpy as np
import pytest

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.compositing import feathered, paste
from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.relative import (
    boxes_of_placements,
    placements_of_boxes,
)

GRAY = np.full((60, 80, 3), 100, np.uint8)


def solid(width=20, height=10, color=(200, 50, 0), alpha=255):
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = color
    return CutOut(rgb, np.full((height, width), alpha, np.uint8))


def test_an_opaque_object_covers_its_box_and_nothing_else():
    composite, mask = paste(GRAY, solid(), (30, 25, 20, 10))
    inside = np.zeros((60, 80), bool)
    inside[25:35, 30:50] = True
    np.testing.assert_array_equal(mask, 255 * inside)
    assert (composite[inside] == (200, 50, 0)).all()
    assert (composite[~inside] == 100).all() and (GRAY == 100).all()


def test_a_translucent_object_is_mixed_and_truncated():
    # 200 * 51 / 255 + 100 * 204 / 255 = 120; 50, 0 -> 90, 80.
    composite, _ = paste(GRAY, solid(alpha=51), (30, 25, 20, 10))
    assert np.abs(composite[30, 40].astype(int) - (120, 90, 80)).max() <= 1


@pytest.mark.parametrize('box, rows, columns', [
    ((-5, -4, 20, 10), slice(0, 6), slice(0, 15)),
    ((70, 55, 20, 10), slice(55, 60), slice(70, 80)),
    ((80, 10, 20, 10), slice(0), slice(0)), ((-200, 0, 20, 10), slice(0), slice(0))])
def test_what_leaves_the_image_is_cut_off(box, rows, columns):
    composite, mask = paste(GRAY, solid(), box)
    inside = np.zeros((60, 80), bool)
    inside[rows, columns] = True
    np.testing.assert_array_equal(mask > 0, inside)
    np.testing.assert_array_equal((composite != 100).any(-1), inside)


def test_boxes_are_rounded_and_never_empty():
    np.testing.assert_array_equal(paste(GRAY, solid(), (29.6, 25.4, 20.3, 9.7))[1],
                                  paste(GRAY, solid(), (30, 25, 20, 10))[1])
    assert (paste(GRAY, solid(), (5, 6, 0.2, 0.1))[1] > 0).sum() == 1


def test_feathering_fades_from_the_edge_inward():
    alpha = feathered(np.full((41, 41), 255, np.uint8), 4)
    # The first center is half a pixel inside: 0.5 / 4, 1.5 / 4, ... of 255.
    assert np.abs(alpha[20, :6].astype(int) - [32, 96, 159, 223, 255, 255]).max() <= 4
    assert (alpha[10:30, 10:30] == 255).all()
    np.testing.assert_array_equal(alpha, alpha[::-1, ::-1])


def test_feathering_never_shows_what_lies_beyond_the_object():
    alpha = np.zeros((30, 30), np.uint8)
    alpha[10:20, 10:20] = 255
    assert feathered(alpha, 3)[alpha == 0].max() == 0


def test_a_thin_object_stays_visible_when_feathered():
    assert feathered(np.full((3, 60), 255, np.uint8), 20).max() >= 190


def test_the_edge_of_the_image_is_not_feathered():
    _, mask = paste(GRAY, solid(40, 40), (-20, 10, 40, 40), feather=4)
    assert mask[30, 0] == 255 and mask[30, 19] < 64


def test_poisson_takes_the_colors_of_the_background():
    """A flat object has no gradients: it disappears in a flat background."""
    composite, mask = paste(GRAY, solid(), (30, 25, 20, 10), mode='poisson')
    assert np.abs(composite.astype(int) - 100).max() <= 2
    assert mask[30, 40] == 255


@pytest.mark.parametrize('x', [30, -18, 58])
def test_poisson_keeps_the_gradients_of_the_object_in_their_place(x):
    """Also at the edge of the image, where the object is cut off."""
    cutout = solid(40, 30, (180, 180, 180))
    cutout.rgb[10:20, 18:22] = 250
    composite, _ = paste(GRAY, cutout, (x, 20, 40, 30), mode='poisson')
    rows, columns = (composite[..., 0] > 140).nonzero()
    assert (rows.min(), rows.max()) == (30, 39)
    assert (columns.min(), columns.max()) == (x + 18, x + 21)
    outside = np.ones((60, 80), bool)
    outside[20:50, max(x, 0):x + 40] = False
    assert (composite[outside] == 100).all()


def test_black_around_a_cut_out_does_not_leak_into_a_poisson_blend():
    cutout = solid(30, 30, (180, 180, 180))
    y, x = np.mgrid[:30, :30]
    outside = (x - 14.5) ** 2 + (y - 14.5) ** 2 > 12 ** 2
    cutout.rgb[outside] = 0
    cutout.alpha[outside] = 0
    composite, _ = paste(GRAY, cutout, (20, 10, 30, 30), mode='poisson')
    assert np.abs(composite.astype(int) - 100).max() <= 2


@pytest.mark.parametrize('box', [(5, 5, 3, 3), (79, 59, 30, 30), (-9, -9, 100, 80)])
def test_poisson_works_for_tiny_and_for_huge_boxes(box):
    composite, mask = paste(GRAY, solid(), box, mode='poisson')
    assert np.abs(composite.astype(int) - 100).max() <= 2 and mask.any()


def test_too_few_pixels_for_poisson_are_pasted():
    for box in ((5, 5, 2, 9), (5, 5, 1, 1)):
        np.testing.assert_array_equal(paste(GRAY, solid(), box, mode='poisson')[0],
                                      paste(GRAY, solid(), box)[0])


def test_wrong_options_are_named():
    with pytest.raises(UserValueError, match="mode must be one of .*'blend'"):
        paste(GRAY, solid(), (0, 0, 9, 9), mode='blend')
    with pytest.raises(UserValueError, match='feather must be 0 pixels or more'):
        paste(GRAY, solid(), (0, 0, 9, 9), feather=-1)


def test_relative_placements_invert_up_to_rounding():
    background, item = np.array((400, 300)), np.array((90, 110))
    placements = np.random.default_rng(0).uniform(0.1, 0.9, (50, 3))
    boxes = boxes_of_placements(placements, background, item)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= background).all()
    np.testing.assert_allclose(placements_of_boxes(boxes, background), placements,
                               atol=0.02)


def test_a_box_that_fills_an_axis_has_position_zero_there():
    assert placements_of_boxes([0, 30, 400, 150], (400, 300)).tolist() == [1, 0, 0.2]
