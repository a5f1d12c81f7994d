"""A run resumes exactly although parts of its model have moved."""
import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR

from mmcontrast.engine.hooks.checkpoint_keys import CheckpointKeysHook
from mmcontrast.engine.resume.rank_state import restore_rank_state
from mmcontrast.engine.resume.rng_state import get_rng_state


class Former(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.body = nn.Linear(3, 3)
        self.proj = nn.Linear(3, 1)

    def forward(self, x):
        return self.proj(self.body(x) * self.scale).mean()


class Current(nn.Module):
    former_keys = dict(scale='head.scale', proj='head.proj')

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.head = nn.Module()
        self.head.proj = nn.Linear(3, 1)
        self.head.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.head.proj(self.body(x) * self.head.scale).mean()


def one_each(model):
    """As mmengine with ``paramwise_cfg``: rates by name, one group a parameter."""
    return [dict(params=[p], lr=0.1 if 'body' in name else 0.01)
            for name, p in model.named_parameters()]


def by_dimension(model):
    return [dict(params=[p for p in model.parameters() if p.ndim > 1]),
            dict(params=[p for p in model.parameters() if p.ndim == 1],
                 weight_decay=0.)]


def train(model, optimizer, schedule, steps, seed):
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    'groups', [one_each, by_dimension, lambda model: model.parameters()])
def test_moments_and_rates_stay_with_their_parameters(groups):
    def build(model):
        optimizer = torch.optim.AdamW(groups(model), lr=0.02, weight_decay=0.1)
        return model, optimizer, MultiStepLR(optimizer, [3], 0.5)

    torch.manual_seed(0)
    former = build(Former())
    train(*former, steps=2, seed=1)
    checkpoint = copy.deepcopy(dict(
        state_dict=former[0].state_dict(), optimizer=former[1].state_dict(),
        param_schedulers=[former[2].state_dict()]))

    model, optimizer, schedule = current = build(Current())
    runner = SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))
    CheckpointKeysHook().after_load_checkpoint(runner, checkpoint)
    model.load_state_dict(checkpoint['state_dict'])
    optimizer.load_state_dict(checkpoint['optimizer'])
    schedule.load_state_dict(checkpoint['param_schedulers'][0])

    for run in (former, current):
        train(*run, steps=4, seed=2)
    wanted = former[0].state_dict()
    for key, value in model.state_dict().items():
        assert value.equal(wanted[key.removeprefix('head.')]), key


class Smaller(Current):
    def __init__(self):
        super().__init__()
        del self.body


@pytest.mark.parametrize(('kind', 'wrap'), [
    (Smaller, OptimWrapper),
    (Current, lambda optimizer: OptimWrapperDict(body=OptimWrapper(optimizer)))])
def test_weights_load_where_the_optimizer_is_another(kind, wrap):
    """As with ``load_from``, which has no use for the optimizer in the file."""
    former, model = Former(), kind()
    saved = torch.optim.AdamW(former.parameters()).state_dict()
    checkpoint = copy.deepcopy(dict(
        state_dict=former.state_dict(), optimizer=saved))
    runner = SimpleNamespace(
        model=model, optim_wrapper=wrap(torch.optim.AdamW(model.parameters())),
        logger=MMLogger.get_current_instance())
    CheckpointKeysHook().after_load_checkpoint(runner, checkpoint)
    assert checkpoint['state_dict']['head.scale'].equal(former.scale)
    assert checkpoint['optimizer'] == saved


def test_buffers_of_a_rank_come_back_under_their_current_keys():
    """Of the model and of its average, which differ between ranks."""
    class Normed(nn.Module):
        former_keys = dict(norm='head.norm')

        def __init__(self):
            super().__init__()
            self.head = nn.Module()
            self.head.norm = nn.BatchNorm1d(2)

    model, average = Normed(), EMAHook()
    average.ema_model = ExponentialMovingAverage(Normed())
    runner = SimpleNamespace(
        model=model, hooks=[average], logger=MMLogger.get_current_instance(),
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.)))
    restore_rank_state(runner, dict(gradients={}, buffers={
        'norm.running_mean': torch.tensor([1., 2.]),
        'ema0:module.norm.running_mean': torch.tensor([3., 4.])}), get_rng_state())
    assert model.head.norm.running_mean.tolist() == [1., 2.]
    assert average.ema_model.module.head.norm.running_mean.tolist() == [3., 4.]
