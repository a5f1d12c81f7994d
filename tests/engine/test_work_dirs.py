"""A run reads, removes and writes files of its own work dir, alone; faults E, W."""
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmcontrast.apis.run_files import last_checkpoint
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.checkpoint_files import latest_good_checkpoint
from mmcontrast.io.work_dir_lock import WorkDirInUse, lock_work_dir
from tests.helpers.exact_runs import (
    KillItself,
    epochs,
    in_processes,
    iterations,
    text_log,
    train,
)


def settings(max_iters, out_dir=None, **more):
    """Validates every third, saves every second iteration."""
    checkpoint = dict(by_epoch=False, interval=2, max_keep_ckpts=2, save_best='acc',
                      rule='greater', out_dir=out_dir)
    return iterations(checkpoint=checkpoint, **more) | dict(
        train_cfg=dict(by_epoch=False, max_iters=max_iters, val_interval=3))


def names(folder):
    return sorted(path.name for path in Path(folder).glob('*.pth'))


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob('*.pth')}


@pytest.mark.parametrize('elsewhere', [False, True])
def test_a_copied_work_dir_is_a_run_of_its_own(tmp_path, elsewhere):
    """faults E: runA trains on, runB is a copy of it from before."""
    out = str(tmp_path / 'out') if elsewhere else None
    first, copy = tmp_path / 'runA', tmp_path / 'runB'
    train(settings(4, out), first)
    shutil.copytree(first, copy)
    if elsewhere:
        shutil.copytree(tmp_path / 'out/runA', tmp_path / 'out/runB')
    train(settings(8, out), first, True)
    files = [Path(out or tmp_path) / name for name in ('runA', 'runB')]
    before = contents(files[0])
    assert last_checkpoint(files[1] if not elsewhere else copy).name == 'iter_4.pth'
    train(settings(6, out), copy, True)
    assert text_log(copy).startswith(f' {files[1]}/iter_4.pth')
    assert contents(files[0]) == before
    assert [name for name in names(files[1]) if name.startswith('iter')] == [
        'iter_4.pth', 'iter_6.pth']
    # One best: that of the copy, replaced or not, and none is missing.
    assert len([name for name in names(files[1]) if name.startswith('best')]) == 1


def test_resuming_another_folder_s_checkpoint_removes_none_of_one_s_own(tmp_path):
    """faults E: iter_2.pth here is not the iter_2.pth that the notes are about."""
    train(settings(4), tmp_path / 'runA')
    train(settings(2, val=False), tmp_path / 'runB')
    before = contents(tmp_path / 'runA')
    config = settings(8) | dict(load_from=str(tmp_path / 'runA/iter_4.pth'))
    train(config, tmp_path / 'runB', True)
    assert contents(tmp_path / 'runA') == before
    assert {'iter_2.pth', 'iter_6.pth', 'iter_8.pth'} <= set(names(tmp_path / 'runB'))


def test_resume_continues_the_run_that_was_begun_last(tmp_path, caplog):
    """faults W, row 3: a finished run, another one killed before its first checkpoint.
    """
    train(settings(4, val=False), tmp_path)
    other = epochs(val=False, batch_size=5, checkpoint=dict(interval=1))
    dies = other | dict(custom_hooks=[
        dict(type=KillItself, moment='after_train_iter', count=3)])
    in_processes(lambda pipe: train(dies, tmp_path), dies=True)
    runner = train(other, tmp_path, True)
    assert runner.iter == 18 and runner.resumed_from is None
    text = max(tmp_path.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert f'--resume {tmp_path}/iter_4.pth' in text and 'earlier run' in text
    # Now it has checkpoints, though the other run's are still there.
    assert latest_good_checkpoint(tmp_path).name == 'epoch_3.pth'
    assert read_checkpoint(tmp_path / 'epoch_3.pth')['meta']['run'] == json.loads(
        (tmp_path / 'run.json').read_text())['run']


def test_runs_of_one_name_and_second_write_logs_of_their_own(tmp_path, monkeypatch):
    """mmengine keeps loggers and message hubs by name, and names runs by the second."""
    monkeypatch.setattr('time.strftime', lambda *_: '20260101_000000')
    once = iterations(val=False) | dict(
        train_cfg=dict(by_epoch=False, max_iters=3), experiment_name='sweep')
    runners = [train(once, tmp_path / name) for name in 'ab']
    assert all('Saving checkpoint at 3' in next(
        (tmp_path / name).glob('*/*.log')).read_text() for name in 'ab')
    assert runners[0].message_hub is not runners[1].message_hub


def test_a_run_resumed_by_path_and_killed_at_once_resumes_there_again(tmp_path):
    """faults W, row 3: the last run begun is the one from that checkpoint."""
    train(settings(6, val=False), tmp_path / 'old')
    chosen = str(tmp_path / 'old/iter_4.pth')
    dies = settings(9, val=False, hooks=[
        dict(type=KillItself, moment='after_train_iter', count=1)])
    in_processes(lambda pipe: train(
        dies | dict(load_from=chosen), tmp_path / 'old', True), dies=True)
    runner = train(settings(9, val=False), tmp_path / 'old', True)
    assert runner.resumed_from == chosen and runner.iter == 9
    # Copies do not read the original, either.
    shutil.copytree(tmp_path / 'old', tmp_path / 'new')
    assert latest_good_checkpoint(tmp_path / 'new') == tmp_path / 'new/iter_9.pth'


@pytest.mark.parametrize('text', ['', '[1]', '{"run": 3}', '[' * 99999, '\udcff'])
def test_a_damaged_note_of_the_run_does_no_harm(tmp_path, text):
    train(settings(2, val=False), tmp_path)
    (tmp_path / 'run.json').write_bytes(text.encode(errors='surrogateescape'))
    assert latest_good_checkpoint(tmp_path).name == 'iter_2.pth'


HOLD = """
import sys, time
from mmcontrast.io.work_dir_lock import lock_work_dir
with lock_work_dir(sys.argv[1]):
    print('in', flush=True)
    time.sleep(100)
"""


def test_a_second_run_in_a_work_dir_is_refused(tmp_path):
    """Obstacles: also with --resume; the lock of a killed run is gone."""
    owner = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path],
                             stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == 'in\n'
        for resume in (False, True):
            with pytest.raises(WorkDirInUse, match=(
                    rf'{tmp_path} is in use: process {owner.pid} on '
                    rf'{os.uname().nodename} trains there since .* --work-dir')):
                train(settings(2, val=False), tmp_path, resume)
        assert not list(tmp_path.glob('*.pth'))
    finally:
        owner.kill()
        owner.wait()
    assert train(settings(2, val=False), tmp_path).iter == 2


def test_the_lock_is_free_after_a_run_that_failed_and_again_inside(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_work_dir(tmp_path):
        with lock_work_dir(tmp_path):
            raise ZeroDivisionError
    with lock_work_dir(tmp_path), ThreadPoolExecutor(1) as pool:
        def enter():
            with lock_work_dir(tmp_path):
                pass
        with pytest.raises(WorkDirInUse, match='another thread of this process'):
            pool.submit(enter).result()
        # And that has not released it.
        second = subprocess.run([sys.executable, '-c', HOLD, tmp_path],
                                capture_output=True, text=True)
        assert f'process {os.getpid()} on' in second.stderr
