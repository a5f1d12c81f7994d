"""Stop a run on a non-finite loss or gradient, and name its origin."""
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ...io.plain_data import shallow_copy
from ...registry import HOOKS
from ..distributed.unwrap import unwrap_model
from ..nonfinite.diagnosis import Diagnosis
from ..nonfinite.message import NonFiniteError, RankReport, full_text
from ..nonfinite.rerun import loss_terms
from ..nonfinite.run_state import (
    nonfinite_buffers,
    nonfinite_state,
    state_message,
)
from ..nonfinite.step_guard import StepGuard, guardable_wrappers
from ..nonfinite.step_snapshot import StepSnapshot
from ..nonfinite.tensors import nonfinite_names
from .intervals import IntervalHook

# Keys in checkpoints, so that a resumed run continues to count.
SKIPPED, DROPPING = 'nonfinite_guard_skipped', 'nonfinite_guard_dropping'
# The same in checkpoints of earlier versions.
_FORMER_SKIPPED, _FORMER_DROPPING = 'finite_guard_skipped', 'finite_guard_dropping'


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """Stop on the first non-finite loss or gradient, before it reaches the weights.

    The batch is run once more from the same RNG state and buffers to name the module or
    parameter where it began. Batch and state are saved to ``work_dir/nonfinite/iter_N``
    for ``tools/analysis/replay.py``. mmengine alone would continue, and end such a run
    as a success.

    A skipped step leaves weights, optimizer, buffers, momentum encoders and RNG state
    as if there had been no such batch; iteration and schedules advance, and the log of
    that iteration has no losses. With accumulated gradients the whole step is skipped.

    Infinite gradients are left to a loss scaler, until its scale collapses.

    What losses and gradients do not show (batch-norm statistics, queues, an EMA, the
    state of the optimizer) is checked before the first step, each validation and each
    checkpoint: one with non-finite values is not written.

    Args:
        skip: ``dict(budget=N)`` skips up to N bad steps in a run, with a warning each;
            one more stops it. None stops at once.
        max_saves: Maximum number of saved batches in a run, each with weights and
            optimizer.
        min_loss_scale: A loss scale below it has collapsed.

    Raises:
        NonFiniteError: On all ranks; the message is that of the first rank whose batch
            caused it.
    """

    skip_in_dry_run = True

    # First after a step, so that the losses of a skipped step are not logged.
    priority = 'HIGHEST'

    def __init__(self, skip: dict | None = None, max_saves: int = 3,
                 min_loss_scale: float = 2.0 ** -13) -> None:
        budget = 0 if skip is None else skip.get('budget')
        if skip is not None and (set(skip) != {'budget'} or not isinstance(budget, int)
                                 or budget < 1):
            raise ValueError(
                'NonFiniteGuardHook: skip must be dict(budget=N), with N >= 1 steps '
                f'that a run may skip; got {skip}.')
        if not isinstance(max_saves, int) or max_saves < 0:
            raise ValueError(
                f'NonFiniteGuardHook: max_saves must be 0 or more, got {max_saves}.')
        if min_loss_scale <= 0:
            raise ValueError('NonFiniteGuardHook: min_loss_scale must be above 0, got '
                             f'{min_loss_scale}.')
        self.budget, self.max_saves = budget, max_saves
        self.min_loss_scale = min_loss_scale
        self._guards: list[StepGuard] = []
        self._handles: list = []
        self._saves = 0
        self._dropping: list[bool] = []
        # Buffers that are meant to be non-finite; None while no training runs.
        self._by_design: set[str] | None = None
        self._expected: set[str] | None = None
        self._finite_at: int | None = None

    def before_run(self, runner: Runner) -> None:
        # Before weights are loaded: a mask of -inf, not a damaged checkpoint.
        self._by_design = nonfinite_buffers(unwrap_model(runner.model))

    def before_train(self, runner: Runner) -> None:
        self._remove()
        self.runner, self.model = runner, unwrap_model(runner.model)
        self._expected = (nonfinite_buffers(self.model) if self._by_design is None
                          else self._by_design)
        self._finite_at = None
        self._check_state('before the first step')
        # Momentum encoders need restoring only if the run continues.
        self._before = StepSnapshot(self.model, with_momentum=bool(self.budget))
        self._always_nonfinite = nonfinite_names(
            (name, b) for name, b in self.model.named_buffers()
            if b.is_floating_point())
        self._awaiting_forward = self._inside = self._skipped = False
        for wrapper in guardable_wrappers(runner):
            guard = StepGuard(wrapper, self._on_alarm, self.min_loss_scale)
            guard.install()
            self._guards.append(guard)
        for guard, dropping in zip(self._guards, self._dropping, strict=False):
            guard.dropping = dropping
        # The first of these two begins the step; both may draw random numbers.
        preprocessor = getattr(self.model, 'data_preprocessor', self.model)
        for module in (preprocessor, self.model):
            self._handles.append(module.register_forward_pre_hook(self._begin))
        self._handles.append(self.model.register_forward_hook(self._note_losses))

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch=None) -> None:
        self._awaiting_forward, self._inside, self._skipped = True, True, False
        self._batch, self._losses = data_batch, {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        if self._skipped and isinstance(outputs, dict):
            outputs.clear()
        self._awaiting_forward = self._inside = False
        self._batch, self._losses = None, {}
        if any(isinstance(hook, IntervalHook) and not hook.by_epoch
               and self.every_n_train_iters(runner, hook.interval)
               for hook in runner.hooks):
            self._check_state('before the network was measured', runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        # A run by iterations is a single one.
        part = 'training' if runner.iter >= runner.max_iters else 'epoch'
        self._check_state(f'at the end of the {part}')

    def before_val(self, runner: Runner) -> None:
        self._check_state('before validation')

    def before_collect_checkpoint(self, runner: Runner, step: int) -> None:
        """Called by ReliableRunner on all ranks before a checkpoint is collected."""
        self._check_state('before the checkpoint was written', step)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # On one rank only; also of mmengine's own Runner.
        self._check_state('before the checkpoint was written',
                          checkpoint['meta']['iter'], everywhere=False)
        # Between two passes of accumulated gradients, the first of which was bad.
        if any(guard.dropping for guard in self._guards):
            checkpoint[DROPPING] = [guard.dropping for guard in self._guards]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            self._dropping = checkpoint.get(
                DROPPING, checkpoint.get(_FORMER_DROPPING, []))

    def after_train(self, runner: Runner) -> None:
        self._expected = None
        self._remove()

    def _check_state(self, occasion: str, step: int | None = None,
                     everywhere: bool = True) -> None:
        """Stop if the state of the run is not finite, on all ranks alike."""
        if self._expected is None:
            return
        step = self.runner.iter if step is None else step
        lines = nonfinite_state(self.runner, self._expected)
        found = all_gather_object(lines) if everywhere else [lines]
        ranks = [rank for rank, lines in enumerate(found) if lines]
        if ranks:
            raise NonFiniteError(state_message(
                found[ranks[0]], step, self._finite_at, ranks, occasion))
        self._finite_at = step

    def _remove(self) -> None:
        for guard in self._guards:
            guard.remove()
        for handle in self._handles:
            handle.remove()
        self._guards, self._handles = [], []

    def _begin(self, module, args) -> None:
        if self._awaiting_forward:
            self._awaiting_forward = False
            self._before.take()
            # The model may write into its data samples.
            self._batch = shallow_copy(self._batch)

    def _note_losses(self, module, args, output) -> None:
        if self._inside:
            self._losses |= loss_terms(output)

    def _on_alarm(self, guard: StepGuard, loss: Tensor | None, alarm: str) -> bool:
        """Whether to skip the step; raises if the run is to stop."""
        if not self._confirmed(guard, loss):
            return False
        losses = {k: v.cpu() for k, v in self._losses.items()}
        if not losses and loss is not None:
            losses = dict(loss=loss.detach().cpu())
        diagnosis = Diagnosis(self.runner, self._before, self._batch,
                              self._always_nonfinite, momentum_updated=not self.budget)
        report = diagnosis.run(guard, alarm, losses)
        source_ranks = [r.rank for r in all_gather_object(report) if r.is_source]
        source_ranks = source_ranks or list(range(get_world_size()))
        if report.rank in source_ranks and self._saves < self.max_saves:
            self._saves += diagnosis.save(report, guard)
        report = all_gather_object(report)[source_ranks[0]]
        return self._stop_or_skip(report, source_ranks)

    def _confirmed(self, guard: StepGuard, loss: Tensor | None) -> bool:
        """Whether a rank has non-finite values, rather than a norm that overflowed."""
        values = [] if loss is None else [('loss', loss)]
        values += [('', p.grad) for p in guard.parameters() if p.grad is not None]
        return any(all_gather_object(bool(nonfinite_names(values))))

    def _stop_or_skip(self, report: RankReport, source_ranks: list[int]) -> bool:
        hub, logger = self.runner.message_hub, self.runner.logger
        spent = hub.get_info(SKIPPED, hub.get_info(_FORMER_SKIPPED, 0))
        if report.alarm != 'scale' and spent < self.budget:
            hub.update_info(SKIPPED, spent + 1)
            self._skipped = True
            logger.warning(f'Step skipped, {spent + 1} of at most {self.budget}. '
                           + full_text(report, self.runner.iter + 1, source_ranks))
            return True
        self._remove()
        if self.budget and report.alarm != 'scale':
            report.notes.append(f'{spent} steps were skipped before; the budget of '
                                f'skip=dict(budget={self.budget}) is spent.')
        text = full_text(report, self.runner.iter + 1, source_ranks)
        first_line = text.partition('\n')[0]
        if get_rank() == 0:
            logger.error(f'{first_line} Training stops.')
        # One long message is enough.
        raise NonFiniteError(text if get_rank() == report.rank else
                             f'{first_line} See the message of rank {report.rank}.')
