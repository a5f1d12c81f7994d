"""Define the base class of hooks that inspect the network at intervals."""
from abc import abstractmethod
from collections.abc import Callable

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner


class IntervalHook(Hook):
    """Calls :meth:`act` before training and at intervals.

    Args:
        interval: Epochs (iterations with ``by_epoch=False``) between two calls.
        before_training: Also call it for the weights that training starts from.
    """

    priority = 'LOW'
    skip_in_dry_run = True

    def __init__(self, interval: int = 1, by_epoch: bool = True,
                 before_training: bool = True) -> None:
        if interval < 1:
            raise ValueError(
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
        # A resumed run has its first point already.
        if self.before_training and runner.iter == 0:
            self.act(runner, step=0)

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
