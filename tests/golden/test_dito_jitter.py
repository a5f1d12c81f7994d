"""Large-scale jitter against numbers of the reference's input pipeline."""
import pytest
import torch

from mmcontrast.methods.dito.jitter import LargeScaleJitter, place_boxes
from tests.helpers.dito_case import Case


@pytest.mark.parametrize('name', ['lsj_eval', 'lsj_zoom_in', 'lsj_zoom_out'])
def test_geometry_of_image_and_boxes(name):
    case = Case(name)
    draws, size = case.config['draws'], case.config['size']
    jitter = LargeScaleJitter(size, case.config['jitter'] if draws else None)
    height, width = case.input('image').shape[:2]
    placement = jitter.draw((height, width), draws)
    boxes, kept = place_boxes(case.input('boxes'), placement)
    case.check(dict(boxes=boxes, kept=kept.float(), image_info=torch.tensor(
        [[height, width], [size, size], placement.scale, placement.offset])))
