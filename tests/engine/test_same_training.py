"""Resuming from a checkpoint of something else is one sentence; faults T, U."""
import pytest
import torch
from torch import nn

from mmcontrast.errors import UserValueError
from tests.helpers.exact_runs import Net, epochs, train


class Other(Net):
    """Another method, with a part of the same names."""

    def __init__(self):
        super().__init__()
        self.projector = nn.Linear(2, 2)


class Wider(Net):
    """The same method with other sizes, once it bears its name."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(),
                                    nn.Dropout(0.3), nn.Linear(9, 2))


class Renamed(Net):
    """The same weights under another name."""


@pytest.fixture
def checkpoint(tmp_path):
    config = epochs(val=False) | dict(train_cfg=dict(by_epoch=True, max_epochs=1))
    train(config, tmp_path / 'first')
    return str(tmp_path / 'first' / 'iter_8.pth')


def resume(checkpoint, tmp_path, **changes):
    config = epochs(val=False) | dict(load_from=checkpoint) | changes
    return train(config, tmp_path / 'second', True)


def test_another_method_is_named_beside_this_one(checkpoint, tmp_path):
    with pytest.raises(UserValueError) as error:
        resume(checkpoint, tmp_path, model=dict(type=Other))
    assert str(error.value).startswith(
        f'{checkpoint} is a checkpoint of Net, and this config trains Other. A run '
        'resumes from its own checkpoints')
    assert 'load_from and without --resume' in str(error.value)


def test_the_newest_of_the_work_dir_may_be_another_method_s(checkpoint, tmp_path):
    with pytest.raises(UserValueError, match='of Net, and this config trains Other'):
        train(epochs(val=False) | dict(model=dict(type=Other)), tmp_path / 'first',
              True)


def test_other_sizes_are_named(checkpoint, tmp_path):
    Wider.__name__ = 'Net'
    with pytest.raises(UserValueError, match=(
            r'of Net with other settings: layers\.\d\.\w+ has the shape \(.*\) there '
            r'and \(.*\) here')):
        resume(checkpoint, tmp_path, model=dict(type=Wider))


@pytest.mark.parametrize('optim_wrapper, message', [
    (dict(optimizer=dict(type='SGD', lr=0.1)), 'written with Adam, .* has SGD'),
    (dict(optimizer=dict(type='Adam', lr=0.1), paramwise_cfg=dict(bias_lr_mult=2.)),
     r'6 parameters in 1 groups, and this run has one of 6 parameters in 6 groups')])
def test_another_optimizer_is_named(checkpoint, tmp_path, optim_wrapper, message):
    with pytest.raises(UserValueError, match=message):
        resume(checkpoint, tmp_path, optim_wrapper=optim_wrapper)


@pytest.mark.parametrize('schedules', [[], 2])
def test_another_number_of_schedules_is_named(checkpoint, tmp_path, schedules):
    own = epochs(val=False)['param_scheduler']
    own = own if isinstance(own, list) else [own]
    schedules = own * 2 if schedules else None
    with pytest.raises(UserValueError, match=(
            f'with {len(own)} schedules, and this config has '
            f'{2 * len(own) if schedules else 0} in param_scheduler')):
        resume(checkpoint, tmp_path, param_scheduler=schedules)


def test_the_same_weights_under_another_name_resume(checkpoint, tmp_path):
    assert resume(checkpoint, tmp_path, model=dict(type=Renamed)).iter == 24


def test_weights_alone_may_come_from_anything_that_fits(checkpoint, tmp_path):
    """load_from is no resume."""
    runner = train(epochs(val=False) | dict(
        load_from=checkpoint, model=dict(type=Other)), tmp_path / 'second')
    assert runner.iter == 24 and isinstance(runner.model, Other)
    assert all(map(torch.is_tensor, runner.model.state_dict().values()))
