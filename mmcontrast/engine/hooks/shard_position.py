"""Save the position in tar shards, and resume reading there."""
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...datasets.shard_sampler import ShardSampler
from ...registry import HOOKS

_KEY = 'shard_position'


@HOOKS.register_module()
class ShardPositionHook(Hook):
    """Save the position in the shards in every checkpoint, and resume there.

    The position is the epoch and how many of its images each rank has trained on; what
    workers have prefetched is not lost. With ``--resume`` reading continues with the
    next image and skips the earlier ones: for epoch-based loops, with checkpoints
    within an epoch, too (the first epoch is then as much shorter), and for
    iteration-based loops.

    A position is valid for its seed, shards, ``buffer_size`` and number of ranks. The
    seed is restored; if anything else has changed, the epoch starts again, with a
    warning. Batch size and number of workers may change. Loaders without
    ``ShardSampler`` are ignored.
    """

    skip_in_dry_run = True

    # Counts before CheckpointHook (VERY_LOW) saves.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self.sampler: ShardSampler | None = None
        self.saved: dict | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.saved = checkpoint.get(_KEY)

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        sampler = getattr(loader.batch_sampler, 'sampler', None)
        if not isinstance(sampler, ShardSampler):
            return
        self.sampler, self.batch_size = sampler, loader.batch_sampler.batch_size
        sampler.endless = not isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.epoch, self.done = runner.epoch, 0
        # A checkpoint of load_from gives weights, not a position.
        if runner.iter:
            self._resume(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        if self.sampler and not self.sampler.endless and runner.epoch != self.epoch:
            self.epoch, self.done = runner.epoch, 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        if self.sampler is None:
            return
        # The last batch of an epoch may be smaller.
        self.done += self.batch_size
        if self.sampler.endless:
            epochs, self.done = divmod(self.done, len(self.sampler))
            self.epoch += epochs
        else:
            self.done = min(self.done, len(self.sampler))

    def after_train_epoch(self, runner: Runner) -> None:
        if self.sampler and not self.sampler.endless:
            self.epoch, self.done = runner.epoch + 1, 0

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self.sampler:
            checkpoint[_KEY] = dict(
                epoch=self.epoch, done=self.done, **self.sampler.layout())

    def _resume(self, runner: Runner) -> None:
        if self.saved is None:
            if self.sampler.endless:
                # As long as the batch size is still the same.
                self.epoch, self.done = divmod(
                    runner.iter * self.batch_size, len(self.sampler))
            runner.logger.warning(
                'The checkpoint holds no position in the shards (written without '
                f'ShardPositionHook). {self._continuing()}')
        else:
            self._resume_at(runner, **self.saved)
        self.sampler.set_position(self.epoch, self.done)

    def _resume_at(self, runner: Runner, epoch: int, done: int, **layout) -> None:
        self.sampler.seed = layout['seed']
        self.epoch = epoch
        changed = [f'{name} {layout.get(name)} -> {value}'
                   for name, value in self.sampler.layout().items()
                   if layout.get(name) != value]
        if changed:
            runner.logger.warning(
                'The position in the shards of the checkpoint is not valid here '
                f'({", ".join(changed)}). {self._continuing()}')
        else:
            self.done = done
            runner.logger.info(self._continuing())

    def _continuing(self) -> str:
        return (f'Continuing in epoch {self.epoch + 1} after {self.done} of the '
                f'{len(self.sampler)} images of each rank.')
