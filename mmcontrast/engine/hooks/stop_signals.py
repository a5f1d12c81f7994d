"""A signal ends a run with a checkpoint, at the next step."""
import functools
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ...io.atomic import atomic_write
from ...io.checkpoint_files import remove_checkpoint
from ...registry import HOOKS
from ..distributed.rank_failures import AgreedExit
from ..distributed.shared_flag import SharedFlag
from .averaged_weights import averaged_weights
from .worker_signals import shield_workers

# torchrun hands a Ctrl-C on to processes that may have had it from the terminal.
SAME_SIGNAL = 1.0


@HOOKS.register_module()
class StopSignalsHook(Hook):
    """Save a checkpoint and exit when the process is told to stop.

    After a signal the current step is finished (the one after, with several ranks),
    the state is saved and all ranks exit together with status 128 + number of the
    signal, 143 for SIGTERM: a ``SystemExit``, so that cleaning up takes place. At the
    end of an epoch its hooks still run; a validation is broken off. If that step has a
    checkpoint already, it is taken; else ``stopped_iter_N.pth`` is written beside the
    others, and an earlier file of that kind removed. A second SIGINT stops at once.

    Signals are handled while training runs, in the main thread; one that was ignored
    before (a job in the background) stays so. The signal may reach any of the ranks.

    Args:
        signals: Names, such as ``SIGUSR1`` for ``sbatch --signal=USR1@300``.
    """

    skip_in_dry_run = True

    # After CheckpointHook and all others, so that their part of the step is saved.
    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = ('SIGTERM', 'SIGINT')) -> None:
        self.signals = [_number(name) for name in signals]
        self.received, self._received_at = 0, 0.0
        self._flag: SharedFlag | None = None
        self._previous: dict = {}

    def before_run(self, runner: Runner) -> None:
        loop = getattr(runner, '_train_loop', None)
        # A Runner that only tests has not built its train loop.
        if isinstance(loop, BaseLoop) and 'run' not in vars(loop):
            loop.run = self._listening(runner, loop.run)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        if self._flag is None:
            return
        self._notice_checkpoint(runner, runner.iter + 1)
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        # The end of an epoch belongs to it: its hooks run before the state is saved.
        last = not by_iter and self.end_of_epoch(runner.train_dataloader, batch_idx)
        if self._told_to_stop() and not last:
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if self._flag is None or isinstance(runner.train_loop, IterBasedTrainLoop):
            return  # The run is over.
        self._notice_checkpoint(runner, runner.iter)
        if self._told_to_stop():
            self._stop(runner, runner.epoch + 1, runner.iter)

    def before_val(self, runner: Runner) -> None:
        if self._flag:
            # A rank with fewer batches than another must not be waited for.
            self._val_rounds = self._flag.least(_length(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                       outputs: Sequence | None = None) -> None:
        if self._flag and batch_idx < self._val_rounds and self._told_to_stop():
            self._undo_validation(runner)
            self._stop(runner, runner.epoch, runner.iter, in_validation=True)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if self._flag:
            # One that CheckpointHook wrote because the score is the best.
            self._notice_checkpoint(runner, runner.iter)

    def _listening(self, runner: Runner, run: Callable) -> Callable:
        @functools.wraps(run)
        def listening(*args, **kwargs):
            self._start(runner)
            try:
                result = run(*args, **kwargs)
                self._flag.close()
                return result
            except AgreedExit:
                # A launcher that ends the others with the first to leave is to see
                # our status, not that of its signal.
                self._previous |= dict.fromkeys(
                    set(self._previous) - {signal.SIGINT}, signal.SIG_IGN)
                raise
            finally:
                self._flag = None
                for number, handler in self._previous.items():
                    signal.signal(number, handler)
        return listening

    def _start(self, runner: Runner) -> None:
        self._flag = SharedFlag()
        self.received = self._agreed = 0
        hook = _checkpoint_hook(runner)
        self._saved_step, self._last_ckpt = None, hook and hook.last_ckpt
        self._averages, self._val_rounds = averaged_weights(runner), 0
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            if isinstance(loop.dataloader, DataLoader):
                shield_workers(loop.dataloader, self.signals)
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                handler = signal.getsignal(number)
                # None: a handler that is not Python's, which nothing could bring back.
                if handler not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame) -> None:
        again = time.monotonic() - self._received_at > SAME_SIGNAL
        if number == self.received == signal.SIGINT and again:
            signal.signal(number, self._previous[number])
            raise KeyboardInterrupt('second SIGINT')
        if not self.received or number == signal.SIGINT != self.received:
            self.received, self._received_at = number, time.monotonic()
            if is_main_process():
                # Not the logger, which may be at work in the frame that this broke off.
                os.write(2, f'\n{_name(number)}: stopping at the next step, with a '
                            'checkpoint. Ctrl-C again stops at once, without.\n'
                            .encode())

    def _told_to_stop(self) -> bool:
        # The greatest of all ranks wins: a signal, and which rank had it.
        code = self.received and self.received * get_world_size() + get_rank()
        self._agreed = self._flag.ask(code) or self._agreed
        return bool(self._agreed)

    def _stop(self, runner: Runner, epoch: int, step: int,
              in_validation: bool = False) -> None:
        number, rank = divmod(self._agreed, get_world_size())
        path = self._checkpoint(runner, epoch, step)
        of_rank = f' on rank {rank}' if get_world_size() > 1 else ''
        where = _place(runner, epoch, step)
        if in_validation:
            where = f'in the validation {where}, which will be made up for'
        runner.logger.warning(
            f'{_name(number)}{of_rank}: training stopped {where}. Its state is in '
            f'{path}. To go on: {resume_command()}')
        # No rank leaves while another one writes: launchers kill what is left.
        self._flag.close()
        raise AgreedExit(128 + number)

    def _checkpoint(self, runner: Runner, epoch: int, step: int) -> str:
        """Path of a full checkpoint of this step, written unless it is there."""
        hook = _checkpoint_hook(runner)
        if self._saved_step == step:
            return hook.last_ckpt
        folder = hook.out_dir if hook else runner.work_dir
        name = f'stopped_iter_{step}.pth'
        runner.save_checkpoint(
            folder, name, getattr(hook, 'file_client_args', None),
            meta=dict(epoch=epoch, iter=step), by_epoch=False,
            backend_args=getattr(hook, 'backend_args', None))
        path = os.path.join(folder, name)
        if is_main_process():
            with atomic_write(Path(runner.work_dir) / 'last_checkpoint') as file:
                file.write(path.encode())
            for older in Path(folder).glob('stopped_iter_*.pth'):
                if older.name != name:
                    remove_checkpoint(older)
        return path

    def _notice_checkpoint(self, runner: Runner, step: int) -> None:
        hook = _checkpoint_hook(runner)
        if hook and hook.last_ckpt != self._last_ckpt:
            self._last_ckpt = hook.last_ckpt
            if hook.save_optimizer and hook.save_param_scheduler:
                self._saved_step = step

    def _undo_validation(self, runner: Runner) -> None:
        for averages in self._averages:
            averages.take_out()
        if hasattr(runner.train_loop, 'validated_step'):
            runner.train_loop.validated_step = -1


def resume_command() -> str:
    """What a user types to resume this process, as far as that can be known."""
    tool, *arguments = sys.argv
    if tool != 'mmcontrast train' and Path(tool).name != 'train.py':
        return 'start the run again with resume=True'
    if get_world_size() > 1:
        return 'the command that started the run, with --resume'
    start = tool.split() if tool == 'mmcontrast train' else ['python', tool]
    return shlex.join([*start, *without_resume(arguments), '--resume'])


def without_resume(argv: Sequence[str]) -> list[str]:
    """A command line without ``--resume`` and the file it may name."""
    kept, skip = [], False
    for word in argv:
        if word == '--resume' or word.startswith('--resume='):
            skip = word == '--resume'
        elif not skip or word.startswith('-'):
            kept.append(word)
            skip = False
        else:
            skip = False
    return kept


def _number(name: str) -> signal.Signals:
    try:
        number = signal.Signals[name]
    except KeyError:
        known = ', '.join(known.name for known in signal.Signals)
        raise ValueError(
            f'StopSignalsHook: signals holds {name!r}; expected names such as SIGTERM '
            f'or SIGUSR1. This system has {known}.') from None
    if name in ('SIGKILL', 'SIGSTOP'):
        raise ValueError(
            f'StopSignalsHook: no process can handle {name}; take it out of signals.')
    return number


def _name(number: int) -> str:
    return signal.Signals(number).name


def _place(runner: Runner, epoch: int, step: int) -> str:
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return f'after iteration {step}'
    if epoch > runner.epoch or runner.iter == step:
        return f'after epoch {epoch} (iteration {step})'
    return f'after iteration {step} in epoch {epoch + 1}'


def _checkpoint_hook(runner: Runner) -> CheckpointHook | None:
    return next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)


def _length(loader) -> int:
    try:
        return len(loader)
    except TypeError:  # A stream: the end of its validation is waited for.
        return 0
