"""Boxes decoded from TopNet's heat maps against an independent implementation."""
import pytest
import torch

from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.decoding import decode
from mmcontrast.methods.topnet.grid import PlacementGrid
from tests.helpers.topnet_case import Case


@pytest.mark.parametrize('number', range(6))
def test_ranked_boxes_are_those_of_the_case(number):
    case = Case('oracle_decode')
    given = dict(case.config['sets'][number])
    sizes = given.pop('bg_wh'), given.pop('fg_wh')
    scales, rows, columns = case.config['shape']
    grid = PlacementGrid((rows, columns), scales, given.pop('binning', 'uniform'))
    fixed = {key: given.pop(key) for key in ('fixed_scale', 'fixed_cell')
             if key in given}
    constraints = Constraints(**fixed) if fixed else None
    heat = case.input('heat')[number]
    found = decode(heat, grid, *sizes, constraints=constraints, **given)
    table = torch.cat([found.scores[:, None].double(), found.cells.double(),
                       found.boxes_xywh], 1)
    case.check({f'set{number}': table})
