"""Weights under former names find their place."""
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmcontrast.io.checkpoint import check_matching_keys
from mmcontrast.io.former_keys import current_key, current_keys, rename_former_keys


class Renamed(nn.Module):
    former_keys = dict(scale='head.scale', proj='head.proj')

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.head = nn.Module()
        self.head.scale = nn.Parameter(torch.ones(2))
        self.head.proj = nn.Linear(2, 2)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        rename_former_keys(state_dict, self, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


FORMER = {'scale': torch.zeros(2), 'body.weight': torch.ones(2, 2),
          'body.bias': torch.ones(2), 'proj.weight': torch.zeros(2, 2),
          'proj.bias': torch.ones(2)}
CURRENT = ['head.scale', 'body.weight', 'body.bias', 'head.proj.weight',
           'head.proj.bias']


def test_whole_parts_are_renamed_and_the_order_stays():
    assert list(current_keys(FORMER, Renamed())) == CURRENT
    # Not what only begins alike, and nothing twice.
    assert current_key('scale_factor', Renamed()) == 'scale_factor'
    assert current_key('head.proj.bias', Renamed()) == 'head.proj.bias'
    assert list(current_keys(FORMER, nn.Linear(2, 2))) == list(FORMER)


def test_keys_below_a_prefix_are_renamed_and_others_are_not():
    state = {'module.scale': 1, 'scale': 2, 'module.steps': 3}
    assert current_keys(state, Renamed(), 'module.') == {
        'module.head.scale': 1, 'scale': 2, 'module.steps': 3}


def test_former_weights_load_strictly_alone_and_inside_another_model():
    model = Renamed()
    model.load_state_dict(FORMER)
    assert model.head.scale.sum() == 0 and model.head.proj.bias.sum() == 2
    model.load_state_dict(model.state_dict())
    outer = nn.Module()
    outer.module = Renamed()
    outer.load_state_dict({f'module.{key}': x for key, x in FORMER.items()})
    assert outer.module.head.scale.sum() == 0
    again = Renamed()
    load_state_dict(again, FORMER, strict=True)
    assert again.head.scale.sum() == 0 and list(FORMER)[0] == 'scale'


def test_former_keys_count_as_matching():
    assert check_matching_keys(FORMER, Renamed(), 'old.pth') is None
