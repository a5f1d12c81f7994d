import copy

import pytest
import torch
from torch import nn

from mmcontrast.models import MomentumTwin


def test_parameters_follow_and_buffers_stay_the_twins_own():
    online = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    twin = MomentumTwin(net=online)
    with torch.no_grad():
        before = twin.net[0].weight.clone()
        online[0].weight.add_(1.0)
        online[1].running_mean.fill_(5.0)
    twin.coefficient = 0.75
    twin.update()
    # 0.75 * w + 0.25 * (w + 1)
    torch.testing.assert_close(twin.net[0].weight, before + 0.25)
    assert twin.net[1].running_mean.tolist() == [0, 0]


def test_coefficient_one_leaves_the_twin():
    online = nn.Linear(2, 2)
    twin = MomentumTwin(net=online)
    before = copy.deepcopy(twin.state_dict())
    with torch.no_grad():
        online.weight.add_(1.0)
    twin.coefficient = 1.0
    twin.update()
    assert all(torch.equal(before[k], v) for k, v in twin.state_dict().items())


def test_the_online_modules_are_no_children():
    twin = MomentumTwin(net=nn.Linear(2, 2))
    assert set(twin.state_dict()) == {'net.weight', 'net.bias'}
    assert not any(p.requires_grad for p in twin.parameters())


def test_init_weights_copies_what_the_online_init_made():
    online = nn.BatchNorm1d(3)
    twin = MomentumTwin(net=online)
    online.running_var.fill_(7.0)
    nn.init.constant_(online.weight, 4.0)
    twin.init_weights()
    assert twin.net.weight.tolist() == [4, 4, 4]
    assert twin.net.running_var.tolist() == [7, 7, 7]


def test_a_twin_without_a_coefficient_names_the_hook():
    with pytest.raises(RuntimeError, match='MomentumHook'):
        MomentumTwin(net=nn.Linear(2, 2)).update()


def test_update_allocates_no_parameter():
    twin = MomentumTwin(net=nn.Linear(300, 300))
    twin.coefficient = 0.9
    address = twin.net.weight.data_ptr()
    twin.update()
    assert twin.net.weight.data_ptr() == address
