"""Train from any iteration on: mmengine's two training loops, made resumable."""
from collections.abc import Callable, Iterator
from itertools import islice

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from ...registry import LOOPS
from .loader import (
    RepeatableLoader,
    check_first_batch,
    repeatable_loader,
    warn_about_repeated_samples,
)
from .module_state import HookState, ModuleState
from .rng_state import OwnStream, RNGState, get_rng_state, restore_rng_state


class _Resumable:
    """What both loops need to resume where another process stopped.

    Attributes:
        validated_step: Iterations trained when the last validation began.
        training_rng: RNG state of the training while a validation runs, in which a
            checkpoint of the best score may be written; None outside.
        module_state: What the modules change outside parameters and buffers; None
            before training has begun.
        hook_state: What hooks of the user change.
    """

    def _prepare(self) -> None:
        runner = self.runner
        made = repeatable_loader(self.dataloader, runner.seed, runner.rank)
        if made is not None:  # One without a full batch is false.
            self.dataloader = made
        if not self.repeatable:
            runner.logger.warning(
                f'Batches of a {type(self.dataloader).__name__} of '
                f'{type(self.dataloader.dataset).__name__} cannot be numbered. A '
                'resumed run loads those before its position again and drops them: '
                'exact only with the same number of workers, at least one.')
        self.validated_step = 0
        self.training_rng: RNGState | None = None
        self._pass, self._done = 0, 0
        self._begun_here = 0  # Iterations of this process.
        self._restore_state: Callable[[], None] | None = None
        self.module_state: ModuleState | None = None
        self.hook_state: HookState | None = None

    @property
    def repeatable(self) -> bool:
        """Whether batches follow from their number; if not, those that were trained on
        are loaded once more and dropped."""
        return isinstance(self.dataloader, RepeatableLoader)

    def resume_from(self, pass_index: int, done: int, validated: bool,
                    restore: Callable[[], None]) -> None:
        """Start :meth:`run` in the middle.

        Args:
            pass_index: Passes over the data that are complete.
            done: Batches of the next one that were trained on.
            validated: False if a validation that was due had not been done.
            restore: Restores RNG state and gradients. Called once, right before the
                first iteration.
        """
        self._pass, self._done = pass_index, done
        self.validated_step = self._iter if validated else -1
        self._restore_state = restore

    def _begin_iter(self) -> None:
        """Restore what is to be restored; after the first step, note what it made."""
        self._restore()
        if self._begun_here == 1:
            self.module_state.note_new_objects()
        self._begun_here += 1

    def _restore(self) -> None:
        if self.module_state is None:
            self.module_state = ModuleState(
                self.runner.model, optim_wrapper=self.runner.optim_wrapper)
            self.hook_state = HookState(self.runner)
        restore, self._restore_state = self._restore_state, None
        if restore is not None:
            restore()

    def _make_up_for_validation(self) -> None:
        """mmengine saves first and validates then; a run may have died in between."""
        if self.validated_step != self._iter:
            self._decide_current_val_interval()
            self._validate_if_due()

    def _validate_if_due(self) -> None:
        done, total = self._progress()
        if (self.runner.val_loop is not None and done >= self.val_begin
                and (done % self.val_interval == 0 or done == total)):
            self.validated_step = self._iter
            # Training sees the same whether or not workers had to be started.
            self.training_rng = get_rng_state()
            try:
                self.runner.val_loop.run()
            finally:
                restore_rng_state(self.training_rng)
                self.training_rng = None

    def _batches(self, pass_index: int, done: int) -> tuple[int, Iterator]:
        """Number of the next batch of a pass, and the batches from there on."""
        if self.repeatable:
            done = self.dataloader.numbered.start_at(pass_index, done)
            return done, iter(self.dataloader)
        # The same seeds for its workers as the first time.
        with OwnStream(self.runner.seed, self.runner.rank, pass_index):
            batches = iter(self.dataloader)
            for _ in islice(batches, done):
                pass
        return done, batches


@LOOPS.register_module()
class EpochBasedExactLoop(_Resumable, EpochBasedTrainLoop):
    """mmengine's epoch-based loop, which can also resume within an epoch.

    Hooks get the ``batch_idx`` of the uninterrupted run. Arguments are mmengine's.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        check_first_batch(self.dataloader)
        self._prepare()
        self._first_iter = 0

    def run(self) -> nn.Module:
        """Launch training."""
        self.runner.call_hook('before_train')
        self._first_iter = self._iter - self._done
        if not self._done:
            # Between two epochs: hooks before the next one may draw already.
            self._restore()
            self._make_up_for_validation()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Iterate one epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done, self._done = self._done, 0
        done, batches = self._batches(self._epoch, done)
        self._first_iter = self._iter - done
        for idx, data_batch in enumerate(batches, start=done):
            self._begin_iter()
            self.run_iter(idx, data_batch)
        self._restore()
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._first_iter = self._iter

    def position(self, epoch: int, step: int) -> tuple[int, int]:
        """(pass, batches of it) to resume from, after ``epoch`` epochs, ``step`` steps.

        As a checkpoint counts them: at the end of an epoch it is already complete.
        """
        return epoch, step - self._first_iter if epoch == self._epoch else 0

    def _progress(self) -> tuple[int, int]:
        return self._epoch, self._max_epochs


@LOOPS.register_module()
class IterBasedExactLoop(_Resumable, IterBasedTrainLoop):
    """mmengine's iteration-based loop, which resumes without loading old batches.

    A sampler that ends begins its next pass with ``set_epoch``; resuming finds the
    right pass. Arguments are mmengine's.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get(
                    'diff_rank_seed', False))
        # Older versions of mmengine start the workers here, too early for a resume.
        super().__init__(runner, _EmptyLoader(dataloader.dataset), *args, **kwargs)
        self.dataloader = dataloader
        self._prepare()
        warn_about_repeated_samples(self.dataloader)
        self.dataloader_iterator = self._endless()

    def run(self) -> nn.Module:
        """Launch training."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._restore()
        self._make_up_for_validation()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            data_batch = next(self.dataloader_iterator)
            self._done += 1
            self._begin_iter()
            self.run_iter(data_batch)
            self._decide_current_val_interval()
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def position(self, epoch: int, step: int) -> tuple[int, int]:
        """(pass, batches of it) to resume from."""
        return self._pass, self._done

    def _endless(self) -> Iterator:
        while True:
            if self._pass:
                self._set_epoch(self._pass)
            self._done, batches = self._batches(self._pass, self._done)
            yield from batches
            if not self._done:
                check_first_batch(self.dataloader)
                raise ValueError(
                    f'The loader of {type(self.dataloader.dataset).__name__} gave no '
                    'batch.')
            self._pass, self._done = self._pass + 1, 0

    def _set_epoch(self, epoch: int) -> None:
        for sampler in (getattr(self.dataloader, 'sampler', None), getattr(
                getattr(self.dataloader, 'batch_sampler', None), 'sampler', None)):
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
                return

    def _progress(self) -> tuple[int, int]:
        return self._iter, self._max_iters


class _EmptyLoader:
    """An empty loader over a data set."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator:
        return iter(())

    def __len__(self) -> int:
        return 0


#: Our loops, by the loop of mmengine that they replace.
EXACT_LOOPS = {EpochBasedTrainLoop: EpochBasedExactLoop,
               IterBasedTrainLoop: IterBasedExactLoop}
