"""What mmengine's Runner does, ours does, too; faults V.

Each fact is one of mmengine's own ``tests/test_runner/test_runner.py`` (0.10.12), and
is stated of both runners. That file, with ours in its place, passes but for two tests
that look for ``_InfiniteDataloaderIterator``.
"""
import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict, StepLR
from mmengine.registry import HOOKS, LOOPS, RUNNERS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.io.checkpoint import read_checkpoint
from tests.helpers.exact_runs import Data, Mean, Net, Plain, epochs, iterations

pytestmark = pytest.mark.usefixtures('scope_as_it_was')
SIX = ['RuntimeInfoHook', 'IterTimerHook', 'DistSamplerSeedHook', 'LoggerHook',
       'ParamSchedulerHook', 'CheckpointHook']


OURS = [dict(type=f'mmcontrast.{name}Hook') for name in (
    'BadImages', 'CheckpointKeys', 'ClassCheck', 'DiskGuard', 'Momentum',
    'NonFiniteGuard', 'PretrainMonitor', 'ShardPosition', 'StopSignals')]


@pytest.fixture(params=[Runner, ReliableRunner])
def kind(request):
    return request.param


@pytest.fixture
def make(kind, tmp_path):
    """Builds a runner from settings of :mod:`exact_runs`."""
    def make(settings=epochs, **changes):
        cfg = settings() | dict(work_dir=str(tmp_path), custom_hooks=[])
        # As long as mmengine waits with it.
        cfg['experiment_name'] += kind.__name__
        cfg |= changes
        objects = any(isinstance(part, nn.Module) for part in cfg.values())
        return kind(**cfg) if objects else kind.from_cfg(Config(cfg))
    return make


def names(runner):
    return [type(hook).__name__ for hook in runner.hooks]


@HOOKS.register_module(force=True)
class Calls(Hook):
    """Notes when it is called."""

    def __init__(self):
        self.calls = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.calls.append(('train', runner.epoch, runner.iter, batch_idx))

    def after_val_epoch(self, runner, metrics=None):
        self.calls.append(('val', runner.iter, sorted(metrics)))


def calls(runner, what):
    hook = next(hook for hook in runner.hooks if isinstance(hook, Calls))
    return [call[1:] for call in hook.calls if call[0] == what]


@pytest.mark.parametrize('method', ['val', 'test'])
@pytest.mark.parametrize('checkpoint', [
    dict(interval=1), dict(interval=1, save_best='acc', rule='greater'),
    dict(by_epoch=False, interval=2, save_best=['acc'], max_keep_ckpts=1)])
def test_a_runner_validates_and_tests_without_training(make, kind, method, checkpoint):
    if kind is Runner and 'save_best' in checkpoint and method == 'val':
        pytest.skip("mmengine's CheckpointHook has no file_backend there")
    test = dict(test_dataloader=epochs()['val_dataloader'], test_cfg=dict(),
                test_evaluator=dict(type=Mean))
    runner = make(default_hooks=dict(checkpoint=dict(
        type='CheckpointHook', **checkpoint)), custom_hooks=[
            dict(type='EMAHook'), dict(type='EarlyStoppingHook', monitor='acc'),
            dict(type='Calls'), *OURS], **test)
    before = copy.deepcopy(runner.model.state_dict())
    assert set(getattr(runner, method)()) == {'acc'}
    assert all(torch.equal(before[k], v) for k, v in runner.model.state_dict().items())
    assert not list(Path(runner.work_dir).glob('*.pth'))


@pytest.mark.parametrize('removed', ['timer', 'checkpoint', 'probe', 'stop_signals'])
def test_none_removes_a_default_hook(make, kind, removed):
    """Obstacles: mmengine raises a bare AssertionError for names that are not its own.
    """
    if kind is Runner and removed not in ('timer', 'checkpoint'):
        pytest.skip('an AssertionError of mmengine')
    runner = make(default_hooks={removed: None})
    gone = dict(timer='IterTimerHook', checkpoint='CheckpointHook').get(removed)
    assert names(runner) == [name for name in SIX if name != gone]


def test_the_six_default_hooks_and_their_order(make):
    runner = make(default_hooks=None)
    assert names(runner) == SIX
    assert ('after_train_iter:\n'
            '(VERY_HIGH   ) RuntimeInfoHook                    \n'
            '(NORMAL      ) IterTimerHook                      \n'
            '(BELOW_NORMAL) LoggerHook                         \n'
            '(LOW         ) ParamSchedulerHook                 \n'
            '(VERY_LOW    ) CheckpointHook                     \n'
            ) in runner.get_hooks_info()
    runner.register_hook(dict(type='Calls'), priority='HIGHEST')
    assert names(runner)[0] == 'Calls'
    with pytest.raises(TypeError):
        runner.register_hook('Calls')


def test_hooks_see_every_step_and_validation_by_epochs(make):
    runner = make(custom_hooks=[dict(type='Calls')], train_cfg=dict(
        by_epoch=True, max_epochs=3, val_interval=2, val_begin=2))
    runner.train()
    assert calls(runner, 'train') == [(k // 8, k, k % 8) for k in range(24)]
    assert calls(runner, 'val') == [(16, ['acc']), (24, ['acc'])]
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (
        3, 24, 3, 24)


def test_hooks_see_every_step_and_validation_by_iterations(make):
    runner = make(iterations, custom_hooks=[dict(type='Calls')], train_cfg=dict(
        by_epoch=False, max_iters=12, val_interval=4, val_begin=4))
    runner.train()
    assert calls(runner, 'train') == [(0, k, k) for k in range(12)]
    assert [step for step, _ in calls(runner, 'val')] == [4, 8, 12]
    assert runner.epoch == 0 and runner.val_interval == 4


def test_parts_may_be_objects(make, tmp_path):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer)
    runner = make(model=model, train_dataloader=DataLoader(Data(), batch_size=10),
                  optim_wrapper=wrapper, val_dataloader=DataLoader(Plain()),
                  param_scheduler=StepLR(wrapper, step_size=1, gamma=0.5),
                  val_evaluator=Evaluator(Mean()))
    assert runner.model is model
    runner.train()
    assert runner.iter == 9
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.1 * 0.5 ** 3)


def test_a_training_loop_of_one_s_own_runs(make):
    @LOOPS.register_module(force=True)
    class Twice(BaseLoop):
        max_iters, max_epochs, iter, epoch = 2, 1, 0, 0

        def __init__(self, runner, dataloader, times):
            super().__init__(runner, dataloader)
            self.times = times

        def run(self):
            self.runner.call_hook('before_train')
            for batch in list(self.dataloader)[:self.times]:
                self.runner.model.train_step(batch, self.runner.optim_wrapper)
            self.done = True
            return self.runner.model

    runner = make(train_cfg=dict(type='Twice', times=2))
    runner.train()
    assert runner.train_loop.done and isinstance(runner.train_loop, Twice)


def test_optimizers_and_schedules_by_name(make):
    model = Net()
    wrappers = {name: OptimWrapper(torch.optim.SGD(
        getattr(model, name).parameters(), lr=lr))
        for name, lr in (('norm', 0.1), ('layers', 0.2))}
    runner = make(model=model, optim_wrapper=OptimWrapperDict(**wrappers),
                  param_scheduler=dict(type='StepLR', step_size=1, gamma=0.5))
    runner.build_train_loop(runner._train_loop)
    schedules = runner.build_param_scheduler(runner.param_schedulers)
    assert set(schedules) == {'norm', 'layers'}
    assert runner.optim_wrapper.get_lr() == {'norm.lr': [0.1], 'layers.lr': [0.2]}


@pytest.mark.parametrize('missing', ['train_cfg', 'optim_wrapper', 'val_cfg',
                                     'val_evaluator', 'val_dataloader'])
def test_parts_that_belong_together_are_asked_for(make, missing):
    with pytest.raises(ValueError, match='should be either all None or not None'):
        make(**{missing: None})


def test_a_runner_without_data_says_so(make):
    nothing = dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper',
                             'param_scheduler', 'val_dataloader', 'val_cfg',
                             'val_evaluator'))
    runner = make(**nothing)
    for method in ('train', 'val', 'test'):
        with pytest.raises(RuntimeError, match=f'_{method}_loop` should not be None'):
            getattr(runner, method)()


def test_checkpoints_have_mmengine_s_layout_and_load_resume_and_continue(make, kind):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    first = make(train_cfg=dict(by_epoch=True, max_epochs=2), default_hooks=hooks)
    first.train()
    path = f'{first.work_dir}/epoch_2.pth'
    saved = read_checkpoint(path)
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'
            } <= set(saved)
    assert saved['meta']['iter'] == 16 and saved['meta']['epoch'] == 2
    for other in (Runner, ReliableRunner):
        # Either runner reads the other's.
        again = other.from_cfg(Config(epochs() | dict(
            work_dir=first.work_dir, custom_hooks=[], load_from=path)))
        again.load_or_resume()
        assert torch.equal(
            again.model.state_dict()['queue'], saved['state_dict']['queue'])
    # Resumed before train() is called, as mmengine's tests do.
    again = make()
    again.resume(path)
    assert (again.epoch, again.iter) == (2, 16)
    again.train()
    assert (again.epoch, again.iter) == (3, 24)


def test_the_registry_builds_the_runner_that_a_config_names(kind, tmp_path):
    cfg = Config(epochs() | dict(work_dir=str(tmp_path), runner_type=(
        kind.__name__ if kind is Runner else 'mmcontrast.ReliableRunner')))
    assert type(RUNNERS.build(cfg)) is kind


def test_the_rate_is_scaled_by_the_batch_size(make):
    runner = make(auto_scale_lr=dict(base_batch_size=2, enable=True),
                  train_cfg=dict(by_epoch=True, max_epochs=1), param_scheduler=None)
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.01 * 4 / 2)]
