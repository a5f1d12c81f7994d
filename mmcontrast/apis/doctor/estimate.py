"""Estimate memory, disk space and time of a run from a few steps."""
import resource
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...engine.distributed.unwrap import unwrap_model
from ...io.checkpoint_writer import count_bytes
from .report import Report

GIB, MIB = 2 ** 30, 2 ** 20


@dataclass
class Times:
    """Measured times in seconds.

    Attributes:
        workers: Number of loader workers.
        first_batch: From the start of the loader to its first batch.
        batch: Per batch of the loader alone.
        steps: Of the training steps on loaded batches; the first one is a warm-up.
        validation: Estimated for one whole validation.
        measured: Number of steps that were made on whole batches.
        tried: Samples of a step from which the others are estimated; 0 for none.
        memory: Estimated peak of a step on a whole batch in bytes; 0 if unknown.
    """

    workers: int = 0
    first_batch: float = 0.
    batch: float = 0.
    steps: list[float] = field(default_factory=list)
    validation: float = 0.
    measured: int = 0
    tried: int = 0
    memory: int = 0

    @property
    def step(self) -> float:
        warm = sorted(self.steps[1:] or self.steps)
        return warm[len(warm) // 2]

    @property
    def iteration(self) -> float:
        """Seconds an iteration: loading and training overlap only with workers."""
        if self.workers:
            return max(self.batch, self.step)
        return self.batch + self.step


def report_time(report: Report, runner: Runner, cfg: Config, times: Times) -> None:
    """Time of the whole run, and whether the loader or the model limits it."""
    iters = runner.max_iters
    training = iters * times.iteration
    loading, stepping = times.batch, times.step
    report.ok(f'an iteration: {loading * 1000:.0f} ms for the loader, '
              f'{stepping * 1000:.0f} ms for the step')
    if not times.workers and loading > 0.2 * stepping:
        report.warn('num_workers=0: loading and training take turns. With '
                    'num_workers=2 or more they overlap.')
    elif times.workers and loading > 1.2 * stepping:
        report.warn('the loader limits the speed, the model waits for it: use more '
                    'workers if there are processors, smaller images on the disk, '
                    'fewer or faster transforms.')
    else:
        report.ok('the model limits the speed')
    validations = _validations(runner)
    total = training + validations * times.validation
    text = (f'about {_duration(total)} for {iters} iterations'
            + (f', of which {_duration(validations * times.validation)} for '
               f'{validations} validation(s)' if validations else ''))
    source = (f'{times.measured} step(s)' if times.measured else
              f'a step on {times.tried} samples')
    report.ok(f'{text}; an estimate from {source} on this machine')


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def report_memory(report: Report, times: Times) -> None:
    """Peak memory of this process, and of the GPU."""
    text = f'peak memory: {peak_memory() / GIB:.2f} GiB of this process, workers apart'
    if not times.measured and times.memory:
        text += f'; about {times.memory / GIB:.1f} GiB with whole batches'
    if torch.cuda.is_available():
        used = torch.cuda.max_memory_reserved()
        total = torch.cuda.mem_get_info()[1]
        text += f'; {used / GIB:.2f} of {total / GIB:.1f} GiB on the GPU'
    report.ok(text)


def check_disk(report: Report, runner: Runner, cfg: Config) -> None:
    """Free disk space against the checkpoints that the run keeps."""
    size = count_bytes(
        [unwrap_model(runner.model).state_dict(), runner.optim_wrapper.state_dict()])
    kept = _kept(runner, cfg)
    if kept == 0:
        report.ok('no checkpoints are kept')
        return
    # One more while the newest is written and the oldest still there.
    needed = size * (kept + 1)
    folder = Path(cfg.work_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = (f'a checkpoint takes about {_size(size)}, {kept} are kept in '
            f'{cfg.work_dir}: {_size(needed)} with the one being written; '
            f'{_size(free)} are free')
    if needed > free:
        report.fail(f'{text}. Make room, lower max_keep_ckpts or raise interval in '
                    'default_hooks.checkpoint, or choose another work_dir.')
    else:
        report.ok(text)


def _kept(runner: Runner, cfg: Config) -> int:
    """Checkpoints on the disk at the end of the run."""
    hook = cfg.get('default_hooks', {}).get('checkpoint', dict(interval=1))
    if hook is None:
        return 0
    interval, most = hook.get('interval', -1), hook.get('max_keep_ckpts', -1)
    length = runner.max_epochs if hook.get('by_epoch', True) else runner.max_iters
    count = -(-length // interval) if interval > 0 else 0
    count += bool(hook.get('save_last', True) and interval <= 0)
    best = hook.get('save_best')
    bests = len(best) if isinstance(best, list | tuple) else int(best is not None)
    return (min(count, most) if most > 0 else count) + bests


def _validations(runner: Runner) -> int:
    """How often the run validates."""
    loop = runner.train_loop
    interval = getattr(loop, 'val_interval', None)
    if runner.val_loop is None or not interval:
        return 0
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    length = runner.max_epochs if by_epoch else runner.max_iters
    begin = max(getattr(loop, 'val_begin', 1), 1)
    return sum(1 for n in range(begin, length + 1)
               if n % interval == 0 or n == length)


def _size(num: float) -> str:
    return f'{num / GIB:.1f} GiB' if num >= GIB else f'{num / MIB:.0f} MiB'


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'
