"""SIGTERM and SIGINT end a run with a checkpoint; real signals to real processes."""
import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmcontrast.engine.hooks import StopSignalsHook
from mmcontrast.engine.hooks.worker_signals import shield_workers
from mmcontrast.engine.runner.run_errors import resume_command, without_resume
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.checkpoint_files import latest_good_checkpoint
from tests.helpers.rank_runs import At, Job, Steps, settings, train


def send(number):
    return lambda: os.kill(os.getpid(), number)


def stopped(folder, moment, step, rank=0, ranks=1, **kwargs):
    """A job that gets SIGTERM at a moment of its run, after it has ended."""
    def function(*where):
        train(*where, hooks=[At(moment, step, send(signal.SIGTERM), rank)], **kwargs)
    return Job(folder, function, ranks)


def weights(path):
    return read_checkpoint(path)['state_dict']


def test_sigterm_saves_the_step_and_exits_with_143(tmp_path):
    def function(*where):
        try:
            train(*where, hooks=[At('before_train_iter', 3, send(signal.SIGTERM))])
        finally:
            (tmp_path / 'cleaned_up').touch()

    job = Job(tmp_path, function)
    assert job.codes() == [143]
    assert (tmp_path / 'cleaned_up').exists()
    assert job.steps()[-2:] == ['step 4', 'saved 4']
    path = latest_good_checkpoint(tmp_path / 'work')
    assert path.name == 'stopped_iter_4.pth'
    assert (tmp_path / 'work' / 'last_checkpoint').read_text() == str(path)
    meta = read_checkpoint(path)['meta']
    assert (meta['epoch'], meta['iter']) == (0, 4)
    log = job.output()
    assert 'SIGTERM: training stopped after iteration 4 in epoch 1' in log
    assert str(path) in log and 'resume' in log


@pytest.mark.parametrize('loop', [
    dict(by_epoch=True, max_epochs=2), dict(by_epoch=False, max_iters=12)])
def test_a_plain_runner_of_mmengine_is_stopped_too(tmp_path, loop):
    at = At('before_train_iter', 7, send(signal.SIGTERM))
    job = Job(tmp_path, lambda *where: train(
        *where, runner=Runner, train_cfg=loop,
        custom_hooks=[dict(type='mmcontrast.StopSignalsHook'), at]))
    assert job.codes() == [143]
    assert latest_good_checkpoint(tmp_path / 'work').name == 'stopped_iter_8.pth'


def test_a_process_that_a_metric_forks_can_be_terminated(tmp_path):
    # multiprocessing.Pool ends its workers by SIGTERM and waits for them.
    def fork():
        child = multiprocessing.get_context('fork').Process(
            target=time.sleep, args=(120,))
        child.start()
        time.sleep(0.5)
        child.terminate()
        child.join(60)
        (tmp_path / 'code').write_text(str(child.exitcode))
        child.kill()

    job = Job(tmp_path, lambda *where: train(
        *where, hooks=[At('before_train_iter', 2, fork)]))
    assert job.codes() == [0]
    assert (tmp_path / 'code').read_text() == str(-signal.SIGALRM)


@pytest.mark.parametrize('name, code', [('SIGINT', 130), ('SIGUSR1', 138)])
def test_the_exit_code_tells_the_signal(tmp_path, name, code):
    def function(*where):
        train(*where, custom_hooks=[
            StopSignalsHook(['SIGINT', 'SIGUSR1']),
            At('before_train_iter', 2, send(signal.Signals[name]))])

    assert Job(tmp_path, function).codes() == [code]
    assert (tmp_path / 'work' / 'stopped_iter_3.pth').exists()


def test_a_second_sigint_stops_at_once_without_a_checkpoint(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)  # torchrun's copy of the first.
        time.sleep(1.1)
        (tmp_path / 'still_there').touch()
        os.kill(os.getpid(), signal.SIGINT)

    job = Job(tmp_path, lambda *where: train(
        *where, hooks=[At('before_train_iter', 2, twice)]))
    assert job.codes() == [1] and (tmp_path / 'still_there').exists()
    assert 'KeyboardInterrupt: second SIGINT' in job.output()
    assert job.steps() == ['step 1', 'step 2']


def test_handlers_come_back_after_training_and_after_a_failure(tmp_path,
                                                               scope_as_it_was):
    def fail():
        seen.append(signal.getsignal(signal.SIGTERM))
        raise RuntimeError('in mid-run')

    before, seen = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(RuntimeError, match='in mid-run'):
        train(tmp_path, hooks=[At('before_train_iter', 2, fail)])
    assert seen[0] != before and signal.getsignal(signal.SIGTERM) == before
    train(tmp_path)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_launcher_does_not_change_the_exit_code_of_a_process_that_leaves(tmp_path):
    def function(*where):
        try:
            train(*where, hooks=[At('before_train_iter', 3, send(signal.SIGINT))])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # As srun --kill-on-bad-exit does.

    assert Job(tmp_path, function).codes() == [130]
    assert (tmp_path / 'work' / 'stopped_iter_4.pth').exists()


def test_a_worker_of_a_fork_server_ends_with_its_parent():
    loader = DataLoader(range(4), num_workers=1, multiprocessing_context='forkserver')
    shield_workers(loader, [signal.SIGTERM])
    batches = iter(loader)
    next(batches)
    worker = batches._workers[0]
    worker.terminate()  # As torch does with one that does not end by itself.
    worker.join(10)
    # A thread that a library started before the signal was blocked may take it.
    assert worker.exitcode in (0, -signal.SIGTERM)


def test_an_ignored_signal_stays_ignored(tmp_path):
    def function(*where):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # As in `command &`.
        train(*where, hooks=[At('before_train_iter', 2, send(signal.SIGINT))])

    job = Job(tmp_path, function)
    assert job.codes() == [0] and 'step 12' in job.steps()


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_loader_workers_outlive_a_signal_to_the_group(tmp_path, name):
    def pause():
        (tmp_path / 'here').touch()
        time.sleep(1.5)  # A worker that dies is noticed, and ends the run.

    loader = settings(tmp_path)['train_dataloader'] | dict(
        num_workers=2, persistent_workers=True)
    job = Job(tmp_path, lambda *where: train(
        *where, train_dataloader=loader, hooks=[At('before_train_iter', 2, pause)]))
    while not (tmp_path / 'here').exists():
        time.sleep(0.05)
    os.killpg(job.processes[0].pid, signal.Signals[name])
    assert job.codes() == [128 + signal.Signals[name]]
    assert job.steps()[-1] == 'saved 3'
    assert 'DataLoader worker' not in job.output()


def test_the_end_of_an_epoch_belongs_to_it(tmp_path):
    # Step 6 is the last of the first epoch: saved as epoch 1, before the validation.
    job = stopped(tmp_path, 'before_train_iter', 5)
    assert job.codes() == [143]
    assert job.steps()[-2:] == ['step 6', 'saved 6']
    meta = read_checkpoint(tmp_path / 'work' / 'stopped_iter_6.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 6)


def test_a_checkpoint_that_is_there_is_not_written_again(tmp_path):
    job = stopped(tmp_path, 'before_train_iter', 5, default_hooks=dict(
        checkpoint=dict(type='CheckpointHook', interval=1)))
    assert job.codes() == [143] and job.steps()[-2:] == ['step 6', 'saved 6']
    assert [p.name for p in (tmp_path / 'work').glob('*.pth')] == ['epoch_1.pth']
    assert 'epoch_1.pth' in job.output()


def test_a_validation_is_interrupted_and_repeated(tmp_path):
    """With averaged weights in the model, as they are during a validation."""
    whole, stopped_dir = tmp_path / 'whole', tmp_path / 'stopped'
    hooks = dict(custom_hooks=[EMAHook()], default_hooks=dict(
        checkpoint=dict(type='CheckpointHook', interval=1)))
    whole.mkdir()
    job = Job(whole, lambda *where: train(*where, **hooks))

    def function(folder, *_):
        at = At('after_val_iter', 2, send(signal.SIGTERM))
        train(folder, custom_hooks=[EMAHook(), StopSignalsHook(), at])
    stopping = Job(stopped_dir, function)
    assert job.codes() == [0] and stopping.codes() == [143]
    assert 'in the validation after epoch 1 (iteration 6)' in stopping.output()
    saved = stopped_dir / 'work' / 'stopped_iter_6.pth'
    expected = read_checkpoint(whole / 'work' / 'epoch_1.pth')
    found = read_checkpoint(saved)
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(found[part], expected[part], rtol=0, atol=0)
    assert found['meta']['epoch'] == 1

    # Resuming validates first, and ends in the weights of the uninterrupted run.
    def resume_from(folder, *where):
        train(folder, *where, resume=True, custom_hooks=[
            EMAHook(), Steps(folder / 'steps_0')], default_hooks=hooks['default_hooks'])
    resumed = Job(stopped_dir, resume_from)
    assert resumed.codes() == [0]
    assert resumed.steps()[:2] == ['validated 6', 'step 7']
    torch.testing.assert_close(
        weights(stopped_dir / 'work' / 'epoch_2.pth'),
        weights(whole / 'work' / 'epoch_2.pth'), rtol=0, atol=0)


class Twice(EMAHook):
    """Validates the weights of the model, too, as mmpretrain's hook can."""

    def after_val_epoch(self, runner, metrics=None):
        super().after_val_epoch(runner)
        for idx, batch in enumerate(runner.val_loop.dataloader):
            runner.val_loop.run_iter(idx, batch)


@pytest.mark.parametrize('validation', [1, 2])
def test_the_weights_that_are_saved_are_never_the_averaged_ones(tmp_path, validation):
    seen = []

    def second(number):
        seen.append(number)
        if len(seen) == validation:
            send(number)()

    def function(folder, *_):
        at = At('after_val_iter', 2, lambda: second(signal.SIGTERM))
        train(folder, custom_hooks=[Twice(), StopSignalsHook(), at],
              default_hooks=dict(checkpoint=dict(
                  type='CheckpointHook', interval=1, filename_tmpl='mine_{}.pth',
                  save_optimizer=False)))
    job = Job(tmp_path, function)
    assert job.codes() == [143]
    saved = read_checkpoint(tmp_path / 'work' / 'stopped_iter_6.pth')
    expected = read_checkpoint(tmp_path / 'work' / 'mine_1.pth')
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(saved[part], expected[part], rtol=0, atol=0)


def test_the_step_after_that_of_a_best_score_is_saved_too(tmp_path):
    """mmengine saves the last checkpoint once more when a score is the best."""
    job = stopped(tmp_path, 'before_train_iter', 5, train_cfg=dict(
        by_epoch=False, max_iters=12, val_interval=5), default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4,
                            save_best='batches', rule='greater')))
    assert job.codes() == [143]
    assert (tmp_path / 'work' / 'iter_5.pth').exists()
    assert latest_good_checkpoint(tmp_path / 'work').name == 'stopped_iter_6.pth'


def test_resumed_runs_keep_one_stop_checkpoint(tmp_path):
    assert stopped(tmp_path, 'before_train_iter', 1).codes() == [143]
    assert stopped(tmp_path, 'before_train_iter', 7, resume=True).codes() == [143]
    assert sorted(p.name for p in (tmp_path / 'work').glob('stopped*')) == [
        'stopped_iter_8.pth', 'stopped_iter_8.pth.json']


@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_one_rank_stops_all_at_one_step(tmp_path, rank):
    job = stopped(tmp_path, 'before_train_iter', 0, rank=rank, ranks=2)
    assert job.codes() == [143, 143]
    # Told at the end of step 1, read at the end of step 2.
    assert job.steps(0) == ['step 1', 'step 2', 'saved 2']
    assert job.steps(1) == ['step 1', 'step 2']
    assert f'SIGTERM on rank {rank}: training stopped after iteration 2' in job.output()


def test_ranks_with_fewer_batches_do_not_hold_up_a_validation(tmp_path):
    """Rank 0 validates 3 batches, rank 1 five; then to all, in the second epoch."""
    def function(folder, rank, ranks):
        loader = settings(folder)['train_dataloader']
        sampler = torch.utils.data.SequentialSampler(range(6 + 4 * rank))
        train(folder, rank, ranks,
              val_dataloader=loader | dict(sampler=sampler),
              hooks=[At('after_val_iter', 4, lambda: (folder / 'alone').touch(), 1),
                     At('before_train_iter', 3, send(signal.SIGINT), rank)])

    job = Job(tmp_path, function, ranks=2)
    assert job.codes() == [130, 130] and (tmp_path / 'alone').exists()
    assert job.steps(1)[-1] == 'step 5'


def test_signals_that_cannot_be_handled_are_rejected():
    with pytest.raises(ValueError, match="'SIGTEM'; expected names such as SIGTERM"):
        StopSignalsHook(['SIGTEM'])
    with pytest.raises(ValueError, match='no process can handle SIGKILL'):
        StopSignalsHook(['SIGKILL'])


def test_the_command_to_resume_takes_the_newest():
    assert without_resume(['train.py', 'a.py', '--resume', 'old.pth', '--amp']) == [
        'train.py', 'a.py', '--amp']
    assert without_resume(['train.py', '--resume', '--amp', '--resume=b.pth']) == [
        'train.py', '--amp']


@pytest.mark.parametrize('tool, command', [
    ('tools/train.py', 'python tools/train.py a.py --resume'),
    ('mmcontrast train', 'mmcontrast train a.py --resume'),
    ('mine.py', 'start the run again with resume=True')])
def test_the_command_to_resume_is_that_of_the_tool_in_use(tool, command, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [tool, 'a.py'])
    assert resume_command() == command
