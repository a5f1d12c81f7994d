"""A run that is killed and resumed is the unbroken run, bit by bit."""
import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from exact_runs import (  # noqa: E402
    Shuffled,
    epochs,
    in_processes,
    iterations,
    same_run,
    train,
)


def kills(count, last):
    """Random iterations, other ones in every run of the tests."""
    seed = int.from_bytes(os.urandom(4), 'little')
    chosen = sorted(random.Random(seed).sample(range(1, last), count))
    print(f'killing after iterations {chosen} (seed {seed})')
    return chosen


def killed_run(config, work_dir, points, ranks=1):
    """Train until a point, SIGKILL, resume, until the next, ..., then to the end.

    A resumed run starts at an earlier iteration than it was killed at; points count
    iterations that a process makes.
    """
    for point in points:
        in_processes(lambda pipe: train(dict(config), work_dir, True, pipe),
                     ranks, kill_at=point)
    in_processes(lambda pipe: train(dict(config), work_dir, True, pipe), ranks)


KINDS = dict(
    epochs=lambda: epochs(accumulate=4, sampler=dict(type=Shuffled)),
    epochs_with_workers=lambda: epochs(workers=2),
    whole_epochs=lambda: epochs(checkpoint=dict(
        by_epoch=True, interval=1, save_best='acc', rule='greater')),
    iterations=lambda: iterations(
        accumulate=2, sampler=dict(type='InfiniteSampler', shuffle=True)),
    iterations_of_finite_passes=lambda: iterations(workers=2))


@pytest.mark.parametrize('kind', KINDS)
def test_a_killed_run_ends_as_the_unbroken_one(kind, tmp_path):
    in_processes(lambda pipe: train(KINDS[kind](), tmp_path / 'whole', False, pipe))
    killed_run(KINDS[kind](), tmp_path / 'killed', kills(3, 12))
    same_run(tmp_path / 'killed', tmp_path / 'whole')
