"""Diagnose a non-finite step on one rank, and save it for a replay."""
from pathlib import Path

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from ...io.config_types import with_names
from ...io.plain_data import shallow_copy
from ..distributed.unwrap import unwrap_model
from .locate import (
    image_names,
    notes_on_annotations,
    origin_in_batch,
    origin_in_weights,
)
from .message import RankReport, full_text
from .record import training_state, write_record
from .rerun import rerun_step
from .step_guard import StepGuard
from .step_snapshot import StepSnapshot


class Diagnosis:
    """Finds where a non-finite step began, and saves it.

    Args:
        runner: In the middle of the step.
        before: The state before the step.
        batch: As the model got it.
        always_nonfinite: Buffers that were non-finite when training began.
        momentum_updated: See :func:`~mmcontrast.engine.nonfinite.rerun.rerun_step`.
    """

    def __init__(self, runner: Runner, before: StepSnapshot, batch: object,
                 always_nonfinite: list[str], momentum_updated: bool) -> None:
        self.runner, self.model = runner, unwrap_model(runner.model)
        self.before, self.batch = before, batch
        self.always_nonfinite = always_nonfinite
        self.momentum_updated = momentum_updated
        self.sharded = is_model_wrapper(runner.model) and (
            'FullySharded' in type(runner.model).__name__)

    def run(self, guard: StepGuard, alarm: str, losses: dict[str, Tensor]
            ) -> RankReport:
        """Run the batch of this rank again; restores the state before the step."""
        self.before.restore()
        report = RankReport(
            alarm, None, get_rank(), losses, [], image_names(self.batch),
            _progress(self.runner, guard), notes=notes_on_annotations(self.batch))
        if self.sharded:
            report.error = 'one rank alone cannot run a model sharded by FSDP.'
            return report
        result = rerun_step(
            self.model, shallow_copy(self.batch), loss_scale=guard.loss_scale,
            context=lambda: guard.wrapper.optim_context(self.model),
            wrappers=_wrapper_names(self.runner),
            momentum_updated=self.momentum_updated)
        self.before.restore()
        self.model.zero_grad(set_to_none=True)
        report.parameters = result.parameters
        if result.error:
            report.error = f'run again, the batch raised {result.error}'
        report.origin = (origin_in_weights(self.model, self.always_nonfinite)
                        or origin_in_batch(self.batch) or result.origin)
        return report

    def save(self, report: RankReport, guard: StepGuard) -> bool:
        """Save batch and state of this rank, and note the folder in the report.

        Returns:
            Whether they were saved. A full disk does not hide the message.
        """
        if self.sharded:
            return False
        rank = f'_rank{get_rank()}' if get_world_size() > 1 else ''
        iteration = self.runner.iter + 1
        folder = Path(self.runner.work_dir) / 'nonfinite' / f'iter_{iteration}{rank}'
        report.saved = str(folder)
        state = training_state(
            self.model, self.runner.optim_wrapper, self.before.rng_state)
        state |= dict(losses=report.losses, always_nonfinite=self.always_nonfinite,
                      momentum_updated=self.momentum_updated,
                      info=_run_info(self.runner, report, guard))
        try:
            missing = write_record(
                folder, self.batch, state, with_names(self.runner.cfg).pretty_text,
                full_text(report, iteration, [report.rank]))
        except (OSError, RuntimeError) as error:
            report.saved = ''
            report.notes.append(f'Batch and state could not be saved: {error}')
            return False
        report.notes += [f'Not saved of the batch: {m}' for m in missing[:5]]
        return True


def _wrapper_names(runner: Runner) -> list[str] | None:
    """Names in an ``OptimWrapperDict``; None for a single wrapper."""
    wrapper = runner.optim_wrapper
    return list(wrapper.keys()) if isinstance(wrapper, OptimWrapperDict) else None


def _run_info(runner: Runner, report: RankReport, guard: StepGuard) -> dict:
    """Plain values on the run at this point."""
    return dict(
        iteration=runner.iter + 1, epoch=runner.epoch + 1, iter=runner.iter,
        max_iters=runner.max_iters, max_epochs=runner.max_epochs, rank=report.rank,
        world_size=get_world_size(), lr=runner.optim_wrapper.get_lr(),
        loss_scale=guard.loss_scale, alarm=report.alarm, torch=str(torch.__version__),
        device=str(next(guard.parameters()).device),
        scope=str(runner.cfg.get('default_scope') or 'mmengine'))


def _progress(runner: Runner, guard: StepGuard) -> list[str]:
    """How far the run is, in two lines at most."""
    rates = ', '.join(f'{name} {values[0]:.4g}'
                      for name, values in runner.optim_wrapper.get_lr().items())
    scale = guard.loss_scale
    scale = '' if scale is None else f', loss scale {scale:.4g}'
    lines = [f'Epoch {runner.epoch + 1}, {rates}{scale}.']
    scalars = runner.message_hub.log_scalars
    if 'train/loss' in scalars:
        values, _ = scalars['train/loss'].data
        lines.append(f'Losses before: {", ".join(f"{v:.4g}" for v in values[-5:])}')
    return lines
