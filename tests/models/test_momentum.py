import copy

import pytest
import torch
from torch import nn

from mmcontrast.models import MomentumEncoder


def test_parameters_follow_and_buffers_stay_those_of_the_momentum_encoder():
    online = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    momentum_encoder = MomentumEncoder(net=online)
    with torch.no_grad():
        before = momentum_encoder.net[0].weight.clone()
        online[0].weight.add_(1.0)
        online[1].running_mean.fill_(5.0)
    momentum_encoder.coefficient = 0.75
    momentum_encoder.update()
    # 0.75 * w + 0.25 * (w + 1)
    torch.testing.assert_close(momentum_encoder.net[0].weight, before + 0.25)
    assert momentum_encoder.net[1].running_mean.tolist() == [0, 0]


def test_coefficient_one_leaves_the_momentum_encoder():
    online = nn.Linear(2, 2)
    momentum_encoder = MomentumEncoder(net=online)
    before = copy.deepcopy(momentum_encoder.state_dict())
    with torch.no_grad():
        online.weight.add_(1.0)
    momentum_encoder.coefficient = 1.0
    momentum_encoder.update()
    assert all(
        torch.equal(before[k], v) for k, v in momentum_encoder.state_dict().items()
    )


def test_the_online_modules_are_no_children():
    momentum_encoder = MomentumEncoder(net=nn.Linear(2, 2))
    assert set(momentum_encoder.state_dict()) == {'net.weight', 'net.bias'}
    assert not any(p.requires_grad for p in momentum_encoder.parameters())


def test_init_weights_copies_what_the_online_init_made():
    online = nn.BatchNorm1d(3)
    momentum_encoder = MomentumEncoder(net=online)
    online.running_var.fill_(7.0)
    nn.init.constant_(online.weight, 4.0)
    momentum_encoder.init_weights()
    assert momentum_encoder.net.weight.tolist() == [4, 4, 4]
    assert momentum_encoder.net.running_var.tolist() == [7, 7, 7]


def test_a_momentum_encoder_without_a_coefficient_names_the_hook():
    with pytest.raises(RuntimeError, match='MomentumHook'):
        MomentumEncoder(net=nn.Linear(2, 2)).update()


def test_update_allocates_no_parameter():
    momentum_encoder = MomentumEncoder(net=nn.Linear(300, 300))
    momentum_encoder.coefficient = 0.9
    address = momentum_encoder.net.weight.data_ptr()
    momentum_encoder.update()
    assert momentum_encoder.net.weight.data_ptr() == address
