"""What a prediction of a phrase says in pixels of an image of any size."""
import pytest
import torch

from mmcontrast.structures import PhrasePrediction


def prediction(boxes=((0.25, 0.5, 0.5, 1.0),), mask_logits=((4.0, -4.0), (-4.0, -4.0))):
    boxes = torch.tensor(boxes)
    return PhrasePrediction(boxes, torch.ones(len(boxes)), None,
                            torch.tensor(mask_logits))


def test_boxes_are_pixels_of_the_image_that_is_asked_for():
    assert prediction().boxes(100, 200).tolist() == [[50, 50, 100, 100]]
    assert prediction().boxes(10, 4).tolist() == [[1, 5, 2, 10]]


def test_boxes_are_clipped_to_the_image():
    outside = prediction(((-0.25, 0.5, 1.5, 1.25),))
    assert outside.boxes(100, 200).tolist() == [[0, 50, 200, 100]]


def test_the_nearest_mask_repeats_the_pixels_of_the_input():
    mask = prediction().mask(4, 6)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[:2, :3] = True
    assert mask.dtype == torch.bool and mask.equal(expected)


def test_a_mask_of_interpolated_logits_cuts_between_pixel_centers():
    # The centers of 2 columns lie at 2 and 6 of 8: logits from 4 to -1 are 0 at 5.2,
    # which is behind the centers of 5 columns.
    wide = prediction(mask_logits=((4.0, -1.0), (4.0, -1.0)))
    mask = wide.mask(2, 8, resize='logits')
    assert mask.sum(1).tolist() == [5, 5]


def test_a_pixel_at_the_threshold_belongs_to_the_mask():
    even = prediction(mask_logits=((0.0, -0.1), (0.1, 0.0)))
    assert even.mask(2, 2).tolist() == [[True, False], [True, True]]


def test_an_unknown_way_to_resize_is_named():
    with pytest.raises(ValueError, match="one of nearest, logits, got 'cubic'"):
        prediction().mask(4, 4, resize='cubic')
