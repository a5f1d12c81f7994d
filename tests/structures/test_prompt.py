"""What a prompt takes, and what it says about what it does not take."""
import dataclasses

import numpy as np
import pytest

from mmcontrast.structures import Prompt, ReferenceRegion

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_lists_become_arrays_in_pixels():
    prompt = Prompt(points=[[3, 4], [5.5, 6]], boxes_xyxy=[[0, 0, 2, 1]],
                    scribbles=[[[0, 0], [1, 1], [2, 3]]], texts='the left dog')
    assert prompt.points.dtype == np.float32 and prompt.points.tolist() == [
        [3, 4], [5.5, 6]]
    assert prompt.boxes_xyxy.shape == (1, 4) and prompt.scribbles[0].shape == (3, 2)
    assert prompt.texts == ('the left dog',)
    assert prompt.kinds == ('points', 'boxes_xyxy', 'scribbles', 'texts')


def test_clicks_and_strokes_lie_on_the_object_unless_they_say_otherwise():
    assert Prompt(points=[[1, 2], [3, 4]]).point_labels.tolist() == [True, True]
    prompt = Prompt(points=[[1, 2], [3, 4]], point_labels=[1, 0],
                    scribbles=[[[0, 0]]], scribble_labels=[False])
    assert prompt.point_labels.tolist() == [True, False]
    assert prompt.scribble_labels.tolist() == [False]


def test_a_prompt_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prompt(texts='a dog').texts = ('a cat',)


def test_a_region_of_another_image_is_a_prompt_of_its_own():
    mask = np.zeros((4, 6), bool)
    prompt = Prompt(regions=[ReferenceRegion(IMAGE, mask)])
    assert prompt.kinds == ('regions',) and prompt.regions[0].mask is mask


@pytest.mark.parametrize('fields, message', [
    (dict(points=[1, 2]), r'points must be \(P, 2\) in pixels, got shape \(2,\)'),
    (dict(points=[[1, 2, 3]]), r'points must be \(P, 2\).* got shape \(1, 3\)'),
    (dict(points=[[1, np.nan]]), r'points must be finite, got \[1.0, nan\]'),
    (dict(boxes_xyxy=[1, 2, 3, 4]), r'boxes_xyxy must be \(B, 4\).*\(4,\)'),
    (dict(boxes_xyxy=[[5, 0, 2, 3]]), r'left < right.*got \[5.0, 0.0, 2.0, 3.0\]'),
    (dict(scribbles=[[[0, 0]], [[0, 0, 0]]]),
     r'scribbles\[1\] must be \(S, 2\).*\(1, 3\)'),
    (dict(points=[[1, 2]], point_labels=[1, 0]),
     r'point_labels must be \(1,\).*one for each of the points, got shape \(2,\)'),
    (dict(points=[[1, 2]], point_labels=[2]), r'point_labels.*with \[2\]'),
    (dict(masks=np.ones((4, 6), bool)), r'masks must be \(M, H, W\) bool.*\(4, 6\)'),
    (dict(masks=np.ones((1, 4, 6))), r'masks must be \(M, H, W\) bool.*float64'),
    (dict(texts=['a dog', ' ']), 'texts must be strings that are not empty'),
    (dict(), 'nothing is asked for; give at least one of points')])
def test_a_field_of_another_shape_is_named(fields, message):
    with pytest.raises(ValueError, match=f'Prompt: .*{message}'):
        Prompt(**fields)


def test_a_reference_region_needs_a_mask_of_its_image():
    with pytest.raises(ValueError, match=r'mask must be \(H, W\) = \(4, 6\) bool'):
        ReferenceRegion(IMAGE, np.zeros((6, 4), bool))
    with pytest.raises(ValueError, match=r'image must be \(H, W, 3\) uint8 RGB'):
        ReferenceRegion(IMAGE[..., 0], np.zeros((4, 6), bool))


def test_what_lies_outside_of_the_image_is_named():
    Prompt(points=[[6, 4]], boxes_xyxy=[[0, 0, 6, 4]]).check_image(4, 6)
    with pytest.raises(ValueError, match=r'points must lie in.* 6 x 4.*\[7.0, 1.0\]'):
        Prompt(points=[[1, 1], [7, 1]]).check_image(4, 6)
    with pytest.raises(ValueError, match=r'boxes_xyxy must lie .*\[9.0, 4.0\]'):
        Prompt(boxes_xyxy=[[0, 0, 9, 4]]).check_image(4, 6)
    with pytest.raises(ValueError, match=r'= \(4, 6\), the size.*got \(1, 6, 4\)'):
        Prompt(masks=np.ones((1, 6, 4), bool)).check_image(4, 6)
