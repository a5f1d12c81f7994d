"""A tiny run of ReliableRunner that uses every kind of randomness, to be killed."""
import json
import multiprocessing
import os
import random
import signal
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from torch import nn

from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.io.checkpoint import read_checkpoint

NUM_SAMPLES, BATCH, EPOCHS = 30, 4, 3  # 8 batches an epoch, the last one of 2


class Data(torch.utils.data.Dataset):
    """A sample draws from python, numpy and torch."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return NUM_SAMPLES

    def image_ids(self):
        return [k % 5 for k in range(NUM_SAMPLES)]

    def __getitem__(self, k):
        x = torch.full((3, 4), k / NUM_SAMPLES) * random.uniform(0.5, 1.5)
        x = x + torch.from_numpy(np.random.rand(3, 4)).float() + torch.rand(3, 4)
        return dict(inputs=x, data_samples=torch.tensor(k % 2))


class Plain(Data):
    """The same without augmentation, for validation."""

    def __getitem__(self, k):
        return dict(inputs=torch.full((3, 4), k / NUM_SAMPLES),
                    data_samples=torch.tensor(k % 2))


class Stream(torch.utils.data.IterableDataset):
    """The samples as a stream, each worker its part."""

    def __init__(self):
        self.data = Data()

    def __len__(self):
        return NUM_SAMPLES

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        for k in range(worker.id, NUM_SAMPLES, worker.num_workers):
            yield self.data[k]


class Shuffled(torch.utils.data.RandomSampler):
    """torch's sampler, which draws from the generator that the model draws from."""

    def __init__(self, dataset, seed):
        super().__init__(dataset)

    def __iter__(self):
        for k in super().__iter__():
            random.random()  # And something in the middle of an epoch.
            yield k


class Net(BaseModel):
    """Batch norm, dropout, and noise from python and numpy in the forward pass."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(),
                                    nn.Dropout(0.3), nn.Linear(8, 2))
        self.register_buffer('queue', torch.zeros(5, 2))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.layers(self.norm(inputs))
        if mode != 'loss':
            return list(logits)
        logits = logits + random.random() * 0.1 + np.random.rand() * 0.1
        self.queue.copy_(torch.cat([self.queue, logits.detach()])[-5:])
        loss = nn.functional.cross_entropy(logits - self.queue.mean(0), data_samples)
        return dict(loss=loss, logits=logits.detach().mean())


class TwoSteps(Net):
    """Trained by two optimizers; each loss leaves gradients for the other one."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        for part in optim_wrapper.values():
            losses = self(**data, mode='loss')
            part.update_params(losses['loss'])
        return losses


class Apart:
    """An optimizer wrapper for each part of the model that is named."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        self.parts = optim_wrapper_cfg

    def __call__(self, model):
        return OptimWrapperDict(**{
            name: build_optim_wrapper(getattr(model, name), dict(part))
            for name, part in self.parts.items()})


class Mean(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(sample.sum()) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(acc=float(np.mean(results)))


class Tell(Hook):
    """Writes every iteration to a pipe, then trains on; a parent may kill meanwhile."""

    priority = 'LOWEST'

    def __init__(self, pipe):
        self.pipe, self.batches = pipe, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.pipe is not None:
            os.write(self.pipe, b'.')

    def before_train_epoch(self, runner):
        # Also a hook may draw, before the loop goes on.
        random.random(), np.random.rand(), torch.rand(1)


def epochs(**options):
    """Settings of an epoch-based run."""
    return settings(dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1), **options)


def iterations(**options):
    """Settings of an iteration-based run."""
    return settings(
        dict(type='IterBasedTrainLoop', max_iters=20, val_interval=6), **options)


def settings(train_cfg, workers=0, sampler=None, checkpoint=None, accumulate=1,
             hooks=(), batch_size=BATCH, seed=3, val=True, **more):
    workers = dict(num_workers=workers, persistent_workers=workers > 0)
    if workers['num_workers']:
        workers['prefetch_factor'] = 3
    collate = dict(type='default_collate')
    result = dict(
        model=dict(type=Net), train_cfg=train_cfg, default_scope='mmcontrast',
        train_dataloader=dict(
            dataset=dict(type=Data), batch_size=batch_size, collate_fn=collate,
            sampler=sampler or dict(type='DefaultSampler', shuffle=True), **workers),
        optim_wrapper=dict(accumulative_counts=accumulate, optimizer=dict(
            type='Adam', lr=0.01)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=20, by_epoch=False)],
        randomness=dict(seed=seed), experiment_name=uuid.uuid4().hex,
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', **checkpoint or dict(
                by_epoch=False, interval=3, max_keep_ckpts=2))),
        custom_hooks=[dict(type='EMAHook', momentum=0.1), *hooks])
    if val:
        result |= dict(
            val_cfg=dict(), val_evaluator=dict(type=Mean), val_dataloader=dict(
                dataset=dict(type=Plain), batch_size=7, collate_fn=collate, **workers,
                sampler=dict(type='DefaultSampler', shuffle=False)))
    return result | more


def two_steps():
    """Settings of a run with two optimizers that accumulate apart."""
    parts = {name: dict(optimizer=dict(type='Adam', lr=0.01), accumulative_counts=count)
             for name, count in (('norm', 2), ('layers', 3))}
    return epochs() | dict(
        model=dict(type=TwoSteps), optim_wrapper=dict(constructor=Apart, **parts))


class KillItself(Hook):
    """SIGKILL at one moment, in the method of a hook; the count-th time it comes."""

    def __init__(self, moment, count):
        self.count = count
        setattr(self, moment, self._maybe)

    def _maybe(self, *args, **kwargs):
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def train(config, work_dir, resume=False, pipe=None, kind=ReliableRunner):
    """Train in this process."""
    torch.set_num_threads(1)
    config = dict(config, work_dir=str(work_dir), resume=resume)
    if torch.distributed.is_initialized():
        config |= dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', broadcast_buffers=False,
            device_ids=None)))
    runner = kind(**config)
    runner.register_hook(Tell(pipe))
    runner.train()
    return runner


def _child(function, rank, ranks, port, pipe):
    os.setsid()
    log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    if ranks > 1:
        os.environ |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
                           RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK='0')
        torch.distributed.init_process_group('gloo', rank=rank, world_size=ranks)
    function(pipe if rank == 0 else None)
    # At an ordinary end each worker of a loader would be waited for.
    os._exit(0)


def in_processes(function, ranks=1, kill_at=None, dies=False):
    """Run ``function(pipe)`` in real processes; SIGKILL all at iteration ``kill_at``.

    Forked, so that a run costs no imports. ``dies``: they are to kill themselves.
    """
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    read, write = os.pipe()
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_child, args=(function, k, ranks, port, write))
                 for k in range(ranks)]
    for process in processes:
        process.start()
    os.close(write)
    seen = 0
    if kill_at is not None:
        while seen < kill_at and os.read(read, 1):
            seen += 1
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    for process in processes:
        # Not join(), which also waits for what the process has started.
        while process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.02)
        # Workers see that their process is gone after some seconds; those that had
        # just been started do not.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    os.close(read)
    expected = 0 if kill_at is None and not dies else -signal.SIGKILL
    assert [process.exitcode for process in processes] == [expected] * ranks, (
        f'exit codes {[process.exitcode for process in processes]}, after {seen} '
        'iterations')


def final(work_dir):
    """What the last checkpoint of a finished run holds."""
    path = Path((Path(work_dir) / 'last_checkpoint').read_text())
    return read_checkpoint(path)


def text_log(work_dir):
    """What the latest run in a work dir wrote after it was resumed."""
    path = max(Path(work_dir).glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    # Two runs that start in the same second write to one file.
    return path.read_text().rpartition('Resuming from')[2]


def log(work_dir):
    """Scalars by (kind of row, step); of steps made twice the later row counts."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'),
                   key=lambda path: path.stat().st_mtime)
    rows = {}
    for line in (line for file in files for line in file.read_text().splitlines()):
        row = json.loads(line)
        rows['loss' in row, row['step']] = {
            name: value for name, value in row.items()
            if not name.endswith(('time', 'memory', 'images_per_second'))}
    return rows


def differences(mine, theirs, path=''):
    """Names of the tensors and numbers in which two checkpoints differ."""
    if isinstance(mine, torch.Tensor):
        same = torch.equal(mine, theirs)
    elif isinstance(mine, dict):
        assert mine.keys() == theirs.keys(), path
        return [d for k in mine for d in differences(mine[k], theirs[k], f'{path}/{k}')]
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(theirs), path
        return [d for k, (a, b) in enumerate(zip(mine, theirs, strict=True))
                for d in differences(a, b, f'{path}/{k}')]
    else:
        same = np.array_equal(mine, theirs)
    return [] if same else [path]


def same_run(mine, theirs):
    """Whether two finished runs have the same weights, states and log."""
    a, b = final(mine), final(theirs)
    parts = ['state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers',
             'exact_resume']
    wrong = differences({k: a.get(k) for k in parts}, {k: b.get(k) for k in parts})
    assert not wrong, wrong[:20]
    assert a['meta']['iter'] == b['meta']['iter']
    first, second = log(mine), log(theirs)
    assert first.keys() == second.keys()
    assert [k for k in first if first[k] != second[k]] == []
