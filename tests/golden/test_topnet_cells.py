"""Boxes and cells of TopNet's heat map against an independent implementation."""
import pytest
import torch

from mmcontrast.methods.topnet import PlacementGrid
from tests.helpers.topnet_case import Case


@pytest.mark.parametrize('binning', ['uniform', 'fopa'])
def test_cells_of_boxes_and_boxes_of_cells_are_those_of_the_case(binning):
    case = Case('oracle_cells')
    config = case.config
    grid = PlacementGrid((config['H'], config['W']), config['S'], binning)
    boxes = torch.tensor([row['box'] for row in config['rows']])
    wholes = torch.tensor([row['bg_wh'] for row in config['rows']])
    cells = grid.cells(boxes, wholes)
    case.check({f'{binning}.cells_sji': cells,
                f'{binning}.boxes': grid.boxes(cells, wholes, boxes[:, 2:])})
