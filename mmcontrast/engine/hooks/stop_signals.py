"""Stop a run at the next step after a signal, with a checkpoint."""
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ...io.atomic import write_text
from ...io.checkpoint_files import remove_checkpoint
from ...registry import HOOKS
from ..distributed.rank_failures import AgreedExit
from ..distributed.shared_flag import SharedFlag
from ..runner.run_errors import resume_command
from .worker_signals import shield_workers

# Seconds: torchrun passes on a Ctrl-C that a process may have got from the terminal.
SAME_SIGNAL = 1.0
# Seconds that a forked child works on after a SIGTERM.
CHILD_GRACE = 5


@HOOKS.register_module()
class StopSignalsHook(Hook):
    """Save a checkpoint and exit when the process receives a signal to stop.

    The current step is finished (the one after, with several ranks), the state is saved
    and all ranks exit together with status 128 + number of the signal, 143 for SIGTERM:
    a ``SystemExit``, so that cleanup takes place. At the end of an epoch its hooks
    still run; a validation is interrupted. If that step has a checkpoint already, no
    other is written; else it is ``stopped_iter_N.pth`` beside the others, and an
    earlier file of that kind is removed. A second SIGINT stops at once.

    Signals are handled while training runs, in the main thread; one that was ignored
    before (a job in the background) stays ignored. Any rank may receive the signal.

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
            loop.run = self._with_handlers(runner, loop.run)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        if self._flag is None:
            return
        self._note_checkpoint(runner, runner.iter + 1)
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        # The end of an epoch belongs to it: its hooks run before the state is saved.
        last = not by_iter and self.end_of_epoch(runner.train_dataloader, batch_idx)
        if self._stop_requested() and not last:
            self._stop(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if self._flag is None or isinstance(runner.train_loop, IterBasedTrainLoop):
            return  # The run is over.
        self._note_checkpoint(runner, runner.iter)
        if self._stop_requested():
            self._stop(runner, runner.epoch + 1, runner.iter)

    def before_val(self, runner: Runner) -> None:
        if self._flag:
            # Ranks may have different numbers of batches.
            self._val_rounds = self._flag.minimum(_length(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                       outputs: Sequence | None = None) -> None:
        if self._flag and batch_idx < self._val_rounds and self._stop_requested():
            self._undo_validation(runner)
            self._stop(runner, runner.epoch, runner.iter, in_validation=True)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if self._flag:
            # CheckpointHook may have written one because the score is the best.
            self._note_checkpoint(runner, runner.iter)

    def _with_handlers(self, runner: Runner, run: Callable) -> Callable:
        @functools.wraps(run)
        def with_handlers(*args, **kwargs):
            self._start(runner)
            try:
                result = run(*args, **kwargs)
                self._flag.close()
                return result
            except AgreedExit:
                # A launcher that ends the other ranks when one exits is to see our
                # status, not that of its own signal.
                self._previous |= dict.fromkeys(
                    set(self._previous) - {signal.SIGINT}, signal.SIG_IGN)
                raise
            finally:
                self._flag = None
                for number, handler in self._previous.items():
                    signal.signal(number, handler)
        return with_handlers

    def _start(self, runner: Runner) -> None:
        self._flag, self._process = SharedFlag(), os.getpid()
        self.received = self._agreed = 0
        hook = _checkpoint_hook(runner)
        self._saved_step, self._last_ckpt = None, hook and hook.last_ckpt
        self._ema_swaps, self._val_rounds = _ema_swaps(runner), 0
        for loop in filter(None, (runner.train_loop, runner.val_loop)):
            if isinstance(loop.dataloader, DataLoader):
                shield_workers(loop.dataloader, self.signals)
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                handler = signal.getsignal(number)
                # None: a handler not set from Python, which could not be restored.
                if handler not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame) -> None:
        if os.getpid() != self._process:
            self._in_child(number)
            return
        again = time.monotonic() - self._received_at > SAME_SIGNAL
        if number == self.received == signal.SIGINT and again:
            signal.signal(number, self._previous[number])
            raise KeyboardInterrupt('second SIGINT')
        if not self.received or number == signal.SIGINT != self.received:
            self.received, self._received_at = number, time.monotonic()
            if is_main_process():
                # Not the logger, which may be in use in the interrupted frame.
                os.write(2, f'\n{_name(number)}: stopping at the next step, with a '
                            'checkpoint. Ctrl-C again stops at once, without.\n'
                            .encode())

    def _in_child(self, number: int) -> None:
        # The handler came along with a fork, as of the pool of mmdet's VOC metric.
        # If its pool ends it, which waits for that, it must go; if the whole group got
        # the signal, the run still needs what it is computing.
        if number == signal.SIGTERM:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(CHILD_GRACE)

    def _stop_requested(self) -> bool:
        # The maximum over all ranks: a signal, and the rank that received it.
        code = self.received and self.received * get_world_size() + get_rank()
        self._agreed = self._flag.exchange(code) or self._agreed
        return bool(self._agreed)

    def _stop(self, runner: Runner, epoch: int, step: int,
              in_validation: bool = False) -> None:
        number, rank = divmod(self._agreed, get_world_size())
        path = self._checkpoint(runner, epoch, step)
        of_rank = f' on rank {rank}' if get_world_size() > 1 else ''
        where = _position(runner, epoch, step)
        if in_validation:
            where = f'in the validation {where}, which will be repeated'
        runner.logger.warning(
            f'{_name(number)}{of_rank}: training stopped {where}. Its state is in '
            f'{path}. To resume: {resume_command()}')
        # No rank exits while another one writes: launchers kill the others then.
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
            write_text(Path(runner.work_dir) / 'last_checkpoint', path)
            for older in Path(folder).glob('stopped_iter_*.pth'):
                if older.name != name:
                    remove_checkpoint(older)
        return path

    def _note_checkpoint(self, runner: Runner, step: int) -> None:
        hook = _checkpoint_hook(runner)
        if hook and hook.last_ckpt != self._last_ckpt:
            self._last_ckpt = hook.last_ckpt
            if hook.save_optimizer and hook.save_param_scheduler:
                self._saved_step = step

    def _undo_validation(self, runner: Runner) -> None:
        for swaps in self._ema_swaps:
            swaps.undo()
        if hasattr(runner.train_loop, 'validated_step'):
            runner.train_loop.validated_step = -1


class _EMASwaps:
    """Knows whether an ``EMAHook`` has swapped its averages into the model.

    The hook does so for a validation; those of some libraries validate twice in one,
    with the averages and without.

    Args:
        hook: Its swaps are counted from now on.
    """

    def __init__(self, hook: EMAHook) -> None:
        self._inside, self._swap = False, hook._swap_ema_parameters
        hook._swap_ema_parameters = self

    def __call__(self) -> None:
        self._swap()
        self._inside = not self._inside

    def undo(self) -> None:
        """Give the model its own weights again."""
        if self._inside:
            self()


def _ema_swaps(runner: Runner) -> list[_EMASwaps]:
    """Those of all hooks of a run, to be called outside of a validation."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    found = [hook._swap_ema_parameters for hook in hooks]
    return [swaps if isinstance(swaps, _EMASwaps) else _EMASwaps(hook)
            for swaps, hook in zip(found, hooks, strict=True)]


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
            f'StopSignalsHook: no process can handle {name}; remove it from signals.')
    return number


def _name(number: int) -> str:
    return signal.Signals(number).name


def _position(runner: Runner, epoch: int, step: int) -> str:
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
    except TypeError:  # A stream: its validation is not interrupted.
        return 0
