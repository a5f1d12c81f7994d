"""Define the base class of hooks that inspect the network at intervals."""
from abc import abstractmethod
from collections.abc import Callable

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ...errors import UserValueError
from ..optim.schedules import share


class IntervalHook(Hook):
    """Calls :meth:`act` before training and at intervals.

    Args:
        interval: Epochs (iterations with ``by_epoch=False``) between two calls. In a
            run by iterations an epoch is a pass over the images. Text such as ``'20%'``
            is a share of the run.
        before_training: Also call it for the weights that training starts from.
    """

    priority = 'LOW'
    skip_in_dry_run = True

    def __init__(self, interval: int | str = 1, by_epoch: bool = True,
                 before_training: bool = True) -> None:
        if share(interval, 100) < 1:
            raise UserValueError(
                f'{type(self).__name__}: interval must be 1 or more, got {interval}.')
        self.interval, self.by_epoch = interval, by_epoch
        self.before_training = before_training

    @abstractmethod
    def act(self, runner: Runner, step: int) -> None:
        """Inspect the network after ``step`` iterations."""

    def before_train(self, runner: Runner) -> None:
        if 'FullyShardedDataParallel' in type(runner.model).__name__:
            raise TypeError(
                f'{type(self).__name__} runs the network on one rank, which a model '
                'sharded by FSDP does not allow; remove the hook or train with DDP.')
        self._fit_to_run(runner)
        # A resumed run has its first point already.
        if self.before_training and runner.iter == 0:
            self.act(runner, step=0)

    def _fit_to_run(self, runner: Runner) -> None:
        by_iterations = isinstance(runner.train_loop, IterBasedTrainLoop)
        if isinstance(self.interval, str):
            self.by_epoch = not by_iterations
            total = runner.max_iters if by_iterations else runner.max_epochs
            self.interval = max(1, int(share(self.interval, total)))
        elif self.by_epoch and by_iterations:
            # The whole run is one epoch of mmengine.
            try:
                length = max(1, len(runner.train_dataloader))
            except TypeError:  # A stream of unknown length.
                length = runner.max_iters
            passes = self.interval
            self.interval, self.by_epoch = passes * length, False
            late = '' if self.interval <= runner.max_iters else (
                f', more than the {runner.max_iters} of the run, so it never does')
            runner.logger.warning(
                f'{type(self).__name__} counts epochs (by_epoch=True), but this run '
                f'counts iterations: it acts every {self.interval} iterations, '
                f'{passes} pass(es) over the images{late}. To choose: by_epoch=False '
                'and interval in iterations.')

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self.act(runner, step=runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self.act(runner, step=runner.iter + 1)


def on_rank_0(function: Callable[[], object], what: str) -> object:
    """Call a function on rank 0 and return its result on all ranks.

    Args:
        what: Named in the error of the other ranks if the function raises on rank 0.
    """
    outcome = [None]
    if is_main_process():
        try:
            outcome = [('result', function())]
        except Exception as error:
            # The others wait for an answer; they get the reason instead.
            broadcast_object_list([('error', f'{type(error).__name__}: {error}')])
            raise
    broadcast_object_list(outcome)
    kind, result = outcome[0]
    if kind == 'error':
        raise RuntimeError(f'{what} failed on rank 0: {result}')
    return result
