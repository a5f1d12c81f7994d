"""A rank that fails or differs is named, and no other rank waits for it."""
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcontrast.apis.test import test as run_test
from mmcontrast.engine.distributed.consistency import config_values
from mmcontrast.engine.distributed.rank_failures import (
    broadcast_failures,
    start_failure_detection,
)
from tests.helpers.rank_runs import At, Job, Line, settings, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def grace(monkeypatch):
    """Processes get less time to leave by themselves, for the tests to be quick."""
    monkeypatch.setattr('mmcontrast.engine.distributed.rank_failures.GRACE', 1.0)


def boom():
    raise ValueError('boom of rank 1')


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def within(seconds: float):
    """A run that is not taken down would last for half an hour."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def test_an_exception_on_one_rank_is_reported_on_all(tmp_path):
    job = Job(tmp_path, lambda *where: train(
        *where, hooks=[At('before_train_iter', 2, boom, rank=1)]), ranks=2)
    with within(30):
        assert job.codes() == [1, 1]
    # On the rank itself: its line, then its traceback.
    line, _, rest = job.output(1).partition('ValueError: boom of rank 1')
    assert 'Rank 1 of 2 (' in line and 'Traceback' not in line
    assert 'Traceback' in rest and 'in boom' in rest
    # On the others: the same line, and no word of a connection that broke.
    log = job.output(0)
    assert 'Rank 1 of 2 (' in log and 'failed: ValueError: boom of rank 1' in log
    assert 'in boom' in log  # The traceback of rank 1, in the log of rank 0.
    assert 'onnection' not in log


def test_a_killed_rank_is_named_on_all(tmp_path):
    # Its loader workers, which are forked from it, live on for some seconds.
    loader = settings(tmp_path)['train_dataloader'] | dict(num_workers=1, batch_size=1)
    job = Job(tmp_path, lambda *where: train(
        *where, hooks=[At('before_train_iter', 2, kill, rank=1)],
        train_dataloader=loader), ranks=3)
    with within(30):
        assert job.codes() == [1, -signal.SIGKILL, 1]
    for rank in (0, 2):
        assert 'Rank 1 of 3 (' in job.output(rank)
        assert 'was lost: its process died without an exception' in job.output(rank)
        assert f'This is rank {rank}, which ends because of it' in job.output(rank)
        assert 'onnection' not in job.output(rank)


def test_the_loss_of_rank_0_is_reported_too(tmp_path):
    job = Job(tmp_path, lambda *where: train(
        *where, hooks=[At('before_train_iter', 2, kill)]), ranks=2)
    with within(30):
        assert job.codes() == [-signal.SIGKILL, 1]
    assert 'Rank 0 of 2 (' in job.output(1) and 'was lost' in job.output(1)


def test_a_rank_that_hangs_is_ended(tmp_path):
    def function(folder, rank, ranks):
        with broadcast_failures():
            if rank == 1:
                sys.exit(0)  # In mid-run also this leaves the others waiting.
            time.sleep(1800)

    job = Job(tmp_path, function, ranks=2)
    with within(30):
        assert job.codes() == [1, 0]
    assert 'failed: it called sys.exit(0)' in job.output(0)


@pytest.mark.parametrize('last', [0, 1])
def test_ranks_that_end_at_different_times_are_no_failure(tmp_path, last):
    def function(folder, rank, ranks):
        start_failure_detection()
        with broadcast_failures() if last else nullcontext():  # A tool that only tests.
            time.sleep(2.5 if rank == last else 0)

    assert Job(tmp_path, function, ranks=2).codes() == [0, 0]


def test_an_exception_in_a_script_that_does_not_know_us_is_reported(tmp_path):
    def function(folder, rank, ranks):
        start_failure_detection()
        if rank == 0:
            time.sleep(1800)
        try:
            boom()
        except ValueError:
            sys.excepthook(*sys.exc_info())  # Python's part at the end of a script.
            raise

    job = Job(tmp_path, function, ranks=2)
    with within(30):
        assert job.codes() == [1, 1]
    assert 'Rank 1 of 2 (' in job.output() and 'ValueError: boom' in job.output()


def test_a_rank_that_cannot_test_ends_the_others(tmp_path):
    (tmp_path / 'config_0.py').write_text('import time\ntime.sleep(1800)\n')

    def function(folder, rank, ranks):
        try:
            run_test(str(folder / f'config_{rank}.py'), 'weights.pth')
        except FileNotFoundError as error:
            sys.exit(str(error))  # As tools/test.py does.

    job = Job(tmp_path, function, ranks=2)
    with within(30):
        assert job.codes() == [1, 1]
    assert 'failed: FileNotFoundError' in job.output()


def test_strangers_do_not_disturb_the_meeting(tmp_path, monkeypatch):
    def function(folder, rank, ranks):
        if rank == 1:  # Talks nonsense to rank 0 first, and leaves.
            genuine = socket.create_connection

            def connect(address, *args):
                for data in (b'GET / HTTP/1.1\n', b'{"token": "?", "rank": 1}\n', b''):
                    with genuine(address) as stranger:
                        stranger.sendall(data)
                return genuine(address, *args)
            monkeypatch.setattr(socket, 'create_connection', connect)
        with broadcast_failures():
            if rank == 1:
                boom()
            time.sleep(1800)

    job = Job(tmp_path, function, ranks=2)
    with within(30):
        assert job.codes() == [1, 1]
    assert 'failed: ValueError: boom' in job.output()


def test_other_shapes_on_a_rank_are_named_before_training(tmp_path):
    job = Job(tmp_path, lambda folder, rank, ranks: train(
        folder, rank, ranks, model=Line(width=1 + rank // 2)), ranks=3)
    with within(30):
        assert job.codes() == [1, 1, 1]
    assert ('rank 2 (' in job.output() and
            '): model: parameter layer.weight is float32 (2, 1), trained, on rank 0 '
            'float32 (1, 1), trained' in job.output())
    assert 'This is rank 1, which ends because of it' in job.output(1)


def test_another_config_on_a_rank_is_named_before_training(tmp_path):
    def function(folder, rank, ranks):
        values = settings(folder, rank, ranks)
        cfg = Config(values['cfg'] | dict(
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1 * (1 + rank))),
            work_dir=f'{folder}/{rank}', train_cfg=dict(max_epochs=2)))
        train(folder, rank, ranks, cfg=cfg)

    job = Job(tmp_path, function, ranks=2)
    with within(30):
        assert job.codes() == [1, 1]
    assert '): config: optim_wrapper.optimizer.lr is 0.2, on rank 0 0.1' in job.output()
    assert 'work_dir' not in job.output().partition('different things')[2]


def test_values_of_a_config_have_their_full_key():
    values = config_values(
        "model = dict(heads=[dict(type='A', sizes=[1, 2]), dict(type='B')])\n"
        "work_dir = 'x'\nexperiment_name = 'at_noon'\n"
        "randomness = dict(seed=3, diff_rank_seed=True)\n"
        "meta = {'a-b': dict(c=None)}\nempty = dict()\n")
    assert values == {
        'model.heads[0].type': "'A'", 'model.heads[0].sizes': '[1, 2]',
        'model.heads[1].type': "'B'", 'randomness.diff_rank_seed': 'True',
        'meta.a-b.c': 'None', 'empty': 'dict()'}
    assert 'randomness.seed' in config_values('randomness = dict(seed=3)')


@pytest.mark.slow
def test_torchrun_gives_up_at_once(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        f'import sys; sys.path[:0] = [{str(ROOT)!r}]\n'
        'import os, pathlib, torch\n'
        'from tests.helpers.rank_runs import At, train\n'
        'from tests.engine.test_rank_failures import boom\n'
        "torch.distributed.init_process_group('gloo')\n"
        "train(pathlib.Path(sys.argv[1]), int(os.environ['RANK']), 2,\n"
        "      hooks=[At('before_train_iter', 2, boom, rank=1)])\n")
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    run = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
         f'--master_port={port}', str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=120, env=os.environ | dict(
            OMP_NUM_THREADS='1'))
    assert run.returncode == 1
    first = run.stderr.index('Rank 1 of 2 (')
    assert run.stderr.find('Traceback') > first
    assert 'failed: ValueError: boom of rank 1' in run.stderr[first:]
    assert 'onnection closed' not in run.stderr
