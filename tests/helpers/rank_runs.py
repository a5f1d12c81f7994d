"""Runs of a real Runner in real processes, as quick to start as a fork."""
import os
import signal
import socket
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from mmcontrast.engine.distributed.rank_failures import broadcast_failures
from mmcontrast.engine.runner.reliable_runner import ReliableRunner

# A run that is not taken down would last for half an hour.
BOUND = 60


class Numbers(Dataset):
    """Twelve numbers, in no time."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([float(index)])


class Line(BaseModel):
    """A line through the numbers; ``width`` lets ranks differ."""

    def __init__(self, width: int = 1):
        super().__init__()
        self.layer = torch.nn.Linear(1, width)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = inputs if torch.is_tensor(inputs) else torch.stack(inputs)
        # Noise, so that a random state that was not restored shows.
        loss = (self.layer(x / 12 + torch.randn_like(x)) - 1).square().mean()
        return dict(loss=loss) if mode == 'loss' else [loss]


class Nothing(BaseMetric):
    """Counts its validations."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(batches=len(results))


class At(Hook):
    """Call a function at one place of the run on one rank."""

    priority = 'VERY_HIGH'

    def __init__(self, place: str, step: int, call, rank: int = 0):
        def act(runner, batch_idx=None, **_):
            now = batch_idx if 'val_iter' in place else runner.iter
            if runner.rank == rank and now == step:
                call()
        setattr(self, place, act)


class Steps(Hook):
    """Write down which steps were trained, validated and saved."""

    def __init__(self, path: Path):
        self.path = path

    def note(self, what: str) -> None:
        with open(self.path, 'a') as file:
            file.write(f'{what}\n')

    def after_train_iter(self, runner, **_):
        self.note(f'step {runner.iter + 1}')

    def after_val_epoch(self, runner, metrics=None):
        self.note(f'validated {runner.iter}')

    def before_save_checkpoint(self, runner, checkpoint):
        self.note(f'saved {checkpoint["meta"]["iter"]}')


def settings(folder: Path, rank: int = 0, ranks: int = 1, hooks=(), **changes) -> dict:
    """Arguments of a runner: 2 epochs of 6 steps (3 with two ranks), validated."""
    loader = dict(batch_size=2, num_workers=0, dataset=Numbers(),
                  sampler=dict(type='DefaultSampler', shuffle=True))
    work_dir = folder / 'work'
    values = dict(
        model=Line(), work_dir=str(work_dir), train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2), val_cfg=dict(),
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=Evaluator(Nothing()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=5)),
        custom_hooks=[dict(type='mmcontrast.StopSignalsHook'),
                      Steps(folder / f'steps_{rank}'), *hooks],
        randomness=dict(seed=3), default_scope='mmcontrast',
        experiment_name=f'run_{time.time_ns()}')
    if ranks > 1:
        values |= dict(launcher='pytorch', cfg=dict(
            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)))
    return values | changes


def train(folder: Path, rank: int = 0, ranks: int = 1, runner=ReliableRunner,
          **kwargs) -> None:
    """Train as a tool does, telling other ranks of a failure."""
    with broadcast_failures():
        runner(**settings(folder, rank, ranks, **kwargs)).train()


class Job:
    """``function(folder, rank, ranks)`` in processes of its own.

    Args:
        function: May be a closure; the processes are forked.
        folder: Gets their outputs, ``out_RANK``.
    """

    def __init__(self, folder: Path, function, ranks: int = 1):
        self.folder, self.ranks = folder, ranks
        folder.mkdir(exist_ok=True)
        with socket.socket() as sock:
            sock.bind(('127.0.0.1', 0))
            port = sock.getsockname()[1]
        self.started = time.monotonic()
        self.processes = [get_context('fork').Process(
            target=self._child, args=(function, rank, port)) for rank in range(ranks)]
        for process in self.processes:
            process.start()

    def codes(self) -> list[int]:
        """Exit codes, once all have ended; they are killed when it takes too long."""
        for process in self.processes:
            process.join(max(0, self.started + BOUND - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            if process.is_alive():
                os.killpg(process.pid, signal.SIGKILL)
        return codes

    def output(self, rank: int = 0) -> str:
        return (self.folder / f'out_{rank}').read_text()

    def steps(self, rank: int = 0) -> list[str]:
        return (self.folder / f'steps_{rank}').read_text().splitlines()

    def _child(self, function, rank: int, port: int) -> None:
        os.setsid()  # A group of its own, for signals to a group.
        file = os.open(
            self.folder / f'out_{rank}', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'w', 1)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)
        if self.ranks > 1:
            os.environ |= dict(
                MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank),
                WORLD_SIZE=str(self.ranks), LOCAL_RANK=str(rank))
            torch.distributed.init_process_group('gloo')
        function(self.folder, rank, self.ranks)
