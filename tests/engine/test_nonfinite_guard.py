"""Non-finite values stop a run before they reach the weights."""
import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from mmcontrast.engine.hooks import NonFiniteGuardHook
from mmcontrast.engine.nonfinite import NonFiniteError
from mmcontrast.engine.nonfinite.step_guard import StepGuard
from mmcontrast.engine.optim.lars import LARS
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.fragile import Fragile, WithMomentum, config, runner_of

pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def stopped(cfg: dict) -> tuple[str, Runner]:
    """Text of the error that ends a run, and its runner."""
    runner = runner_of(cfg)
    with pytest.raises(NonFiniteError) as caught:
        runner.train()
    return str(caught.value), runner


@pytest.fixture(scope='module')
def lars_is_compiled():
    """Its kernel brings numba, which changes how many threads torch uses."""
    weight = nn.Parameter(torch.ones(2, 2))
    weight.sum().backward()
    LARS([weight], lr=0.1).step()


def trained(cfg: dict) -> Runner:
    """The runner of a config, after its training."""
    runner = runner_of(cfg)
    runner.train()
    return runner


def state(runner: Runner) -> dict:
    """All that training changes."""
    return dict(model=runner.model.state_dict(),
                optimizer=runner.optim_wrapper.state_dict())


def assert_same(a, b) -> None:
    """Bit for bit, NaN excluded."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@MODELS.register_module()
class LeavesOut(Fragile):
    """Leaves out batches with a black image, by hand."""

    def train_step(self, data, optim_wrapper):
        if any(not image.any() for image in data['inputs']):
            return {}
        return super().train_step(data, optim_wrapper)


@MODELS.register_module()
class MomentumLeavesOut(WithMomentum, LeavesOut):
    pass


@MODELS.register_module()
class TwoOptimizers(Fragile):
    """Steps of its own on two wrappers, the first of them without the wrapper's
    backward."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss, logs = self.parse_losses(self(**data))
        optim_wrapper['stem'].zero_grad()
        loss.backward()
        optim_wrapper['stem'].step()
        loss, logs = self.parse_losses(self(**data))
        optim_wrapper['head'].update_params(loss)
        return logs


@MODELS.register_module()
class NowAndThen(Fragile):
    """Its second pass fails, which follows from no state that anybody keeps."""

    passes = 0

    def forward(self, inputs, data_samples=None, mode='loss'):
        self.passes += 1
        losses = super().forward(inputs, data_samples, mode)
        return losses | dict(
            loss_pixel=losses['loss_pixel'] * (torch.nan if self.passes == 2 else 1))


class TwoWrappers:
    """Builds the wrappers of :class:`TwoOptimizers`."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        pass

    def __call__(self, model):
        return OptimWrapperDict(
            stem=OptimWrapper(torch.optim.SGD(model.stem.parameters(), 0.1)),
            head=OptimWrapper(torch.optim.SGD(
                [*model.head.parameters(), model.gain], 0.1)))


def test_a_division_by_zero_is_named_and_the_weights_have_not_moved(tmp_path):
    before = trained(config(tmp_path / 'a', max_iters=2))
    text, runner = stopped(config(tmp_path / 'b', dark=[9]))
    assert text.startswith('Iteration 3: the loss is not finite: loss_pixel nan')
    assert 'First non-finite: meter (Ratio), in its forward.' in text
    assert 'input: (4,) float32, min 0 ' in text
    assert 'photos/8.jpg, photos/9.jpg' in text
    assert_same(state(runner), state(before))


def test_an_infinite_slope_is_named_though_the_loss_is_finite(tmp_path):
    text, runner = stopped(config(tmp_path, dark=[9], meter='Root'))
    assert text.startswith('Iteration 3: a gradient is not finite, the loss is: ')
    assert 'First non-finite: meter (Root), in its backward.' in text
    assert 'Non-finite gradients: gain.' in text
    assert runner.model.gain.isfinite()


def test_a_broken_image_is_named_by_its_path(tmp_path):
    text, _ = stopped(config(tmp_path, broken=[6], meter='Identity'))
    assert ('First non-finite: the images, as the data pipeline gave them: '
            'photos/6.jpg.' in text)


def test_an_infinite_weight_is_named_before_what_comes_of_it(tmp_path):
    text, _ = stopped(config(tmp_path, meter='Identity', custom_hooks=[
        dict(type='mmcontrast.SpoilWeight', iteration=2)]))
    assert ('First non-finite: the weights themselves, before the forward pass: '
            'head.weight.' in text)


def test_a_healthy_run_is_the_same_with_and_without_the_guard(tmp_path):
    guarded, plain = (config(tmp_path / name, meter='Identity') for name in 'ab')
    del plain['default_hooks']['guard']
    runners = [trained(guarded), trained(plain)]
    assert_same(*(state(runner) for runner in runners))
    assert not (tmp_path / 'a' / 'nonfinite').exists()
    # The wrapper is its own again.
    assert runners[0].optim_wrapper.__dict__.keys() == (
        runners[1].optim_wrapper.__dict__.keys())


@pytest.mark.parametrize('wrapper', [
    dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
    dict(optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=0.5)),
    dict(optimizer=dict(type='mmcontrast.LARS', lr=0.5, weight_decay=0.01))])
@pytest.mark.parametrize('meter', ['Ratio', 'Root'])
def test_a_skipped_batch_leaves_all_as_if_left_out_by_hand(
        tmp_path, wrapper, meter, lars_is_compiled):
    skipping = config(tmp_path / 'a', dict(skip=dict(budget=2)), meter, dark=[5, 9],
                      optim_wrapper=deepcopy(wrapper))
    by_hand = config(tmp_path / 'b', None, meter, dark=[5, 9], optim_wrapper=wrapper)
    by_hand['model']['type'] = 'mmcontrast.LeavesOut'
    runners = [trained(skipping), trained(by_hand)]
    assert_same(*(state(runner) for runner in runners))
    assert runners[0].model.stem[1].num_batches_tracked == 4


def test_a_skipped_batch_does_not_move_a_momentum_encoder(tmp_path):
    cfgs = [config(tmp_path / name, guard, dark=[5])
            for name, guard in (('a', dict(skip=dict(budget=1))), ('b', None))]
    for cfg, kind in zip(cfgs, ('WithMomentum', 'MomentumLeavesOut'), strict=True):
        cfg['model']['type'] = f'mmcontrast.{kind}'
    runners = [trained(cfg) for cfg in cfgs]
    assert_same(*(state(runner) for runner in runners))


def test_the_log_of_a_skipped_step_says_so_and_holds_no_nan(tmp_path):
    cfg = config(tmp_path, dict(skip=dict(budget=1)), dark=[5])
    trained(cfg)
    rows = [json.loads(line) for file in tmp_path.glob('*/vis_data/scalars.json')
            for line in file.read_text().splitlines()]
    assert len(rows) == 6 and all(np.isfinite(row['loss']) for row in rows)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Step skipped, 1 of at most 1. Iteration 2: the loss is not' in log
    assert (tmp_path / 'nonfinite' / 'iter_2' / 'state.pth').is_file()


def test_a_spent_budget_stops_the_run(tmp_path):
    text, runner = stopped(config(tmp_path, dict(skip=dict(budget=1)), dark=[1, 9]))
    assert text.startswith('Iteration 3: ')
    assert '1 steps were skipped before; the budget of skip=dict(budget=1)' in text
    assert runner.message_hub.get_info('nonfinite_guard_skipped') == 1


def test_of_accumulated_gradients_the_whole_step_is_left_out(tmp_path):
    # Two passes a step: the second pass of the second step is bad.
    wrapper = dict(optimizer=dict(type='SGD', lr=0.05), accumulative_counts=2)
    cfg = config(tmp_path, dict(skip=dict(budget=1)), dark=[13], max_iters=4,
                 optim_wrapper=wrapper)
    runner = trained(cfg)
    short = trained(config(tmp_path / 'b', optim_wrapper=wrapper, max_iters=2))
    assert_same(dict(runner.model.named_parameters()),
                dict(short.model.named_parameters()))


def test_a_step_to_leave_out_is_left_out_after_a_resume(tmp_path):
    settings = dict(guard=dict(skip=dict(budget=1)), dark=[9], optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.05), accumulative_counts=2))

    def cfg(name, **more):
        made = config(tmp_path / name, **settings, **more)
        made['default_hooks']['checkpoint'] |= dict(interval=1, by_epoch=False)
        return made | dict(runner_type='mmcontrast.ReliableRunner')
    whole = trained(cfg('a'))
    # Iteration 3 is the first of the two passes of a step.
    resumed = trained(cfg('b') | dict(
        resume=True, load_from=str(tmp_path / 'a' / 'iter_3.pth')))
    assert_same(state(resumed), state(whole))
    assert not (tmp_path / 'b' / 'nonfinite').exists()
    # An earlier version wrote the same under another name.
    checkpoint = torch.load(tmp_path / 'a' / 'iter_3.pth', weights_only=False)
    checkpoint['finite_guard_dropping'] = checkpoint.pop('nonfinite_guard_dropping')
    torch.save(checkpoint, tmp_path / 'former.pth')
    resumed = trained(cfg('c') | dict(
        resume=True, load_from=str(tmp_path / 'former.pth')))
    assert_same(state(resumed), state(whole))


def test_two_optimizers_with_a_train_step_of_their_own_are_guarded(tmp_path):
    cfg = config(tmp_path, meter='Root', dark=[5], optim_wrapper=dict(
        constructor='TwoWrappers'))
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=TwoWrappers, force=True)
    cfg['model']['type'] = 'mmcontrast.TwoOptimizers'
    cfg['param_scheduler'] = None
    text, runner = stopped(cfg)
    assert text.startswith('Iteration 2: a gradient')
    assert 'First non-finite: meter (Root), in its backward.' in text
    assert runner.model.gain.isfinite()


def test_a_scaler_may_search_its_scale(tmp_path):
    runner = trained(config(tmp_path, meter='Identity', optim_wrapper=dict(
        type='CpuAmp', scale=2.0 ** 30, optimizer=dict(type='SGD', lr=0.01))))
    assert runner.optim_wrapper.loss_scaler.get_scale() < 2.0 ** 30


def test_a_collapsed_loss_scale_stops_the_run(tmp_path):
    text, _ = stopped(config(
        tmp_path, meter='Root', dark=range(24), optim_wrapper=dict(
            type='CpuAmp', scale=2.0 ** -11, optimizer=dict(type='SGD', lr=0.01))))
    # 2**-11, 2**-12, 2**-13 are still searched.
    assert text.startswith('Iteration 4: the loss scale of mixed precision has coll')
    assert 'First non-finite: meter (Root), in its backward.' in text


def test_a_nan_loss_stops_a_run_with_a_scaler(tmp_path):
    text, runner = stopped(config(
        tmp_path, dark=[5], optim_wrapper=dict(
            type='CpuAmp', scale=8.0, dtype='bfloat16',
            optimizer=dict(type='SGD', lr=0.01))))
    assert text.startswith('Iteration 2: the loss is not finite: loss_pixel nan')
    assert 'loss scale 8.' in text
    assert runner.optim_wrapper.loss_scaler.get_scale() == 8


def test_huge_finite_gradients_are_no_alarm():
    weight = nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([weight], 2.0 ** -100))
    asked = []

    def on_alarm(guard, loss, alarm):
        asked.append(alarm)
        return False
    StepGuard(wrapper, on_alarm).install()
    wrapper.update_params((weight * 2.0 ** 100).sum())
    # The norm overflows; the closer look says no, and the step is taken.
    assert asked == ['gradient'] and weight.tolist() == [0, 0]


def test_a_folder_that_cannot_be_written_does_not_hide_the_message(tmp_path):
    (tmp_path / 'nonfinite').write_text('a file where the folder should be')
    text, _ = stopped(config(tmp_path, dark=[9]))
    assert 'First non-finite: meter (Ratio)' in text and 'could not be saved: ' in text


def test_a_nan_that_does_not_come_back_is_said_to_be_so(tmp_path):
    cfg = config(tmp_path, model='NowAndThen', max_iters=3)
    text, _ = stopped(cfg)
    assert text.startswith('Iteration 2: the loss is not finite: loss_pixel nan')
    assert 'run again from the same state, the batch gave finite values' in text


@pytest.mark.parametrize('settings, named', [
    (dict(skip=dict(budget=0)), 'skip must be'),
    (dict(skip=dict(times=1)), 'skip must be'),
    (dict(max_saves=-1), 'max_saves must be'),
    (dict(min_loss_scale=0), 'min_loss_scale must be')])
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        NonFiniteGuardHook(**settings)


def train_on_ranks(rank, folder):
    return {name: _train_on_rank(Path(folder) / name, **settings)
            for name, settings in RANK_RUNS.items()}


RANK_RUNS = dict(loss=dict(), gradient=dict(meter='Root'),
                 skip=dict(guard=dict(skip=dict(budget=1))))


def _train_on_rank(folder, **settings):
    cfg = config(folder, dark=[9], batch_size=4, max_iters=4, **settings)
    cfg |= dict(launcher='pytorch', experiment_name=folder.name,
                model_wrapper_cfg=dict(
                    type='MMDistributedDataParallel', broadcast_buffers=False,
                    device_ids=None))
    runner, text = runner_of(cfg), ''
    try:
        runner.train()
    except NonFiniteError as error:
        text = str(error)
    return dict(text=text, weights=dict(runner.model.module.named_parameters()))


def test_two_ranks_decide_alike_and_name_the_one_that_saw_it(tmp_path):
    # Images 1, 3, 5, ... go to rank 1; averaging spoils the gradients of both.
    first, second = on_ranks(2, train_on_ranks, str(tmp_path))
    for run, meter in (('loss', 'Ratio'), ('gradient', 'Root')):
        text = second[run]['text']
        headline = text.partition('\n')[0]
        assert headline.startswith('Iteration 2 on rank 1: ')
        assert first[run]['text'] == f'{headline} See the message of rank 1.'
        assert f'First non-finite: meter ({meter})' in text and 'photos/9.jpg' in text
        saved = [p.name for p in (tmp_path / run / 'nonfinite').iterdir()]
        assert saved == ['iter_2_rank1']
    assert first['skip']['text'] == second['skip']['text'] == ''
    assert_same(first['skip']['weights'], second['skip']['weights'])
    assert all(w.isfinite().all() for w in first['skip']['weights'].values())
