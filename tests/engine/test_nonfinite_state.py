"""Non-finite values that no loss shows are found before a checkpoint is written."""
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmcontrast.apis.loading import load_weights
from mmcontrast.engine.hooks import NonFiniteGuardHook
from mmcontrast.engine.hooks.intervals import IntervalHook
from mmcontrast.engine.nonfinite import NonFiniteError
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.registry import HOOKS
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.disk_runs import Rising  # noqa: F401
from tests.helpers.fragile import config, runner_of

pytestmark = pytest.mark.usefixtures('scope_as_it_was')
NAN, INF = float('nan'), float('inf')
MEAN = 'stem.1.running_mean'


@HOOKS.register_module()
class SpoilState(Hook):
    """Writes a value into the state of the run after an iteration, from 1."""

    def __init__(self, name, value=NAN, iteration=5, rank=None):
        self.name, self.value = name, value
        self.iteration, self.rank = iteration, rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration and self.rank in (None, runner.rank):
            self._tensor(runner).view(-1)[0] = self.value

    def _tensor(self, runner) -> torch.Tensor:
        model = getattr(runner.model, 'module', runner.model)
        if self.name == 'exp_avg_sq':
            state = runner.optim_wrapper.optimizer.state
            return state[model.head.weight]['exp_avg_sq']
        if self.name.startswith('ema.'):
            hook = next(h for h in runner.hooks if hasattr(h, 'ema_model'))
            return hook.ema_model.module.state_dict()[self.name[4:]]
        return model.state_dict()[self.name]


def message(folder: Path, name=MEAN, value=NAN, interval=2, keep=1, **settings) -> str:
    """Message of a run whose state is non-finite after the fifth of 8 iterations."""
    runner_type = settings.pop('runner_type', 'mmengine.Runner')
    validation = settings.pop('validation', {})
    if 'train_cfg' in settings:
        validation['train_cfg'] = settings.pop('train_cfg')
    hooks = [*settings.pop('hooks', ()),
             dict(type='mmcontrast.SpoilState', name=name, value=value)]
    cfg = config(folder, meter='Identity', max_iters=8, custom_hooks=hooks, **settings)
    cfg['default_hooks']['checkpoint'] = dict(
        type='CheckpointHook', interval=interval, by_epoch=False, max_keep_ckpts=keep,
        save_last=False)
    with pytest.raises(NonFiniteError) as caught:
        runner_of(cfg | validation | dict(runner_type=runner_type)).train()
    return str(caught.value)


# faults Z; the siblings are everything else that a checkpoint keeps.
STATES = {
    'mean': dict(name=MEAN), 'variance': dict(name='stem.1.running_var', value=INF),
    'minus': dict(name=MEAN, value=-INF), 'frozen': dict(name='gain', value=INF),
    'average': dict(name='ema.head.weight', hooks=[dict(type='EMAHook')]),
    'optimizer': dict(name='exp_avg_sq', value=INF, optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=0.01)))}
NAMES = dict(average='head.weight of the EMA',
             optimizer='exp_avg_sq of head.weight in the optimizer')


@pytest.mark.parametrize('runner_type', ['mmengine.Runner',
                                         'mmcontrast.ReliableRunner'])
@pytest.mark.parametrize('state', STATES)
def test_a_checkpoint_with_it_is_not_written_and_the_earlier_one_stays(
        tmp_path, state, runner_type):
    settings = dict(STATES[state])
    name = NAMES.get(state, settings['name'])
    if state == 'frozen':
        # Before the next forward pass, that is at once.
        settings['interval'] = 1
    # mmengine's own Runner removes the oldest checkpoint before it writes.
    keep = 1 if runner_type == 'mmcontrast.ReliableRunner' else 2
    text = message(tmp_path, runner_type=runner_type, keep=keep, **settings)
    step = 5 if state == 'frozen' else 6
    assert text.startswith(
        f'Iteration {step}: the state of the run is not finite: {name}.\n')
    assert f'    {name} (' in text and (', 1 nan' in text or ', 1 inf' in text)
    assert 'After iteration 4 all values were finite' in text
    assert 'Found before the checkpoint was written' in text
    saved, = tmp_path.glob('*.pth')
    assert saved.name == 'iter_4.pth'
    weights = read_checkpoint(saved)['state_dict']
    assert all(v.isfinite().all() for key, v in weights.items() if key != 'mask')


def test_it_is_found_before_a_validation(tmp_path):
    text = message(tmp_path, interval=100, validation=dict(
        val_cfg=dict(), val_evaluator=dict(type='Rising'), val_dataloader=dict(
            batch_size=4, num_workers=0, dataset=dict(type='mmcontrast.Photos'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=False, max_iters=8, val_interval=6)))
    assert text.startswith('Iteration 6: ') and 'Found before validation' in text


class Measures(IntervalHook):
    measured: list[int] = []

    def act(self, runner, step):
        self.measured.append(step)


def test_it_is_found_before_a_hook_measures_the_network(tmp_path):
    # faults Z, sibling: the probes of docs/watching_a_run.md validate too.
    hook = Measures(interval=2, by_epoch=False)
    cfg = config(tmp_path, meter='Identity', max_iters=8, custom_hooks=[
        dict(type='mmcontrast.SpoilState', name=MEAN, iteration=5)])
    runner = runner_of(cfg)
    runner.register_hook(hook)
    with pytest.raises(NonFiniteError, match='(?s)^Iteration 6: .*network was meas'):
        runner.train()
    assert hook.measured == [0, 2, 4]


def test_it_is_found_at_the_end_of_an_epoch(tmp_path):
    text = message(tmp_path, interval=100, train_cfg=dict(by_epoch=True, max_epochs=2))
    assert text.startswith('Iteration 6: ') and 'at the end of the epoch' in text


def test_it_is_found_at_the_end_of_a_run_that_saves_nothing(tmp_path):
    text = message(tmp_path, interval=-1)
    assert text.startswith('Iteration 8: ') and 'at the end of the training' in text
    assert not list(tmp_path.glob('*.pth'))


def test_a_checkpoint_that_brings_it_is_named_before_the_first_step(tmp_path):
    # faults Z, sibling: what an earlier version wrote.
    run = runner_of(config(tmp_path / 'a', meter='Identity', max_iters=2))
    run.train()
    weights = dict(run.model.state_dict(), **{MEAN: torch.full((4,), NAN)})
    torch.save(dict(state_dict=weights), tmp_path / 'a.pth')
    cfg = config(tmp_path / 'b', meter='Identity')
    with pytest.raises(NonFiniteError, match=(
            f'^Iteration 0: .*{MEAN}(?s:.*)They came with the loaded weights')):
        runner_of(cfg | dict(load_from=str(tmp_path / 'a.pth'))).train()


def test_a_model_that_is_used_with_it_is_warned_of(warned):
    network = nn.BatchNorm2d(2)
    network.register_buffer('mask', torch.full((2,), -INF))
    weights = network.state_dict()
    load_weights(network, weights, 'a.pth')
    assert not warned
    load_weights(network, weights | dict(running_mean=torch.tensor([0., NAN])), 'a.pth')
    assert warned[0].startswith('a.pth: running_mean of it hold NaN or Inf')


def test_without_a_training_nothing_is_checked():
    hook = NonFiniteGuardHook()
    hook.before_val(None)
    hook.before_save_checkpoint(None, dict(meta=dict(iter=1)))


def spoil_on_a_rank(rank, folder):
    cfg = config(Path(folder), meter='Identity', max_iters=4, custom_hooks=[
        dict(type='mmcontrast.SpoilState', name=MEAN, iteration=1, rank=1)])
    cfg['default_hooks']['checkpoint'] = dict(
        type='CheckpointHook', interval=2, by_epoch=False)
    # Each rank is to raise by itself, not because another one failed.
    cfg |= dict(launcher='pytorch', experiment_name='ranks',
                env_cfg=dict(rank_failures=False),
                runner_type='mmcontrast.ReliableRunner', model_wrapper_cfg=dict(
                    type='MMDistributedDataParallel', broadcast_buffers=False,
                    device_ids=None))
    try:
        runner_of(cfg).train()
    except NonFiniteError as error:
        return str(error)


def test_ranks_stop_together_where_one_has_it(tmp_path):
    texts = on_ranks(2, spoil_on_a_rank, str(tmp_path))
    assert all(text.startswith(
        f'Iteration 2 on rank 1: the state of the run is not finite: {MEAN}')
        for text in texts)
    assert not list(tmp_path.glob('*.pth'))
