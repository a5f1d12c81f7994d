"""One hit, looked into by one rank: where it began, and a folder for later."""
from pathlib import Path

from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ...io.plain_data import shallow_copy
from ..distributed.unwrap import unwrap_model
from .locate import (
    image_names,
    notes_on_annotations,
    origin_in_batch,
    origin_in_weights,
)
from .message import RankReport, full_text
from .record import state_of, write_record
from .rerun import rerun_step
from .run_state import run_info, situation, wrapper_names
from .step_guard import StepGuard
from .step_snapshot import StepSnapshot


class Diagnosis:
    """Finds out about a step that is not finite, and saves it.

    Args:
        runner: In the middle of the step.
        before: The state that the step began with.
        batch: As the model got it.
        always_nonfinite: Buffers that were not finite when training began.
        momentum_updated: See :func:`~mmcontrast.engine.nonfinite.rerun`.
    """

    def __init__(self, runner: Runner, before: StepSnapshot, batch: object,
                 always_nonfinite: list[str], momentum_updated: bool) -> None:
        self.runner, self.model = runner, unwrap_model(runner.model)
        self.before, self.batch = before, batch
        self.always_nonfinite, self.momentum_updated = (
            always_nonfinite,
            momentum_updated,
        )
        self.sharded = is_model_wrapper(runner.model) and (
            'FullySharded' in type(runner.model).__name__)

    def rerun_step(self, guard: StepGuard, alarm: str, losses: dict[str, Tensor]
                ) -> RankReport:
        """Run the batch of this rank again; ends in the state before the step."""
        self.before.restore()
        report = RankReport(
            alarm, None, get_rank(), losses, [], image_names(self.batch),
            situation(self.runner, guard), notes=notes_on_annotations(self.batch))
        if self.sharded:
            report.error = 'a model sharded by FSDP cannot be run by itself.'
            return report
        finding = rerun_step(
            self.model, shallow_copy(self.batch), loss_scale=guard.loss_scale,
            context=lambda: guard.wrapper.optim_context(self.model),
            wrappers=wrapper_names(self.runner), momentum_updated=self.momentum_updated)
        self.before.restore()
        self.model.zero_grad(set_to_none=True)
        report.parameters = finding.parameters
        if finding.error:
            report.error = f'run again, the batch ended in {finding.error}'
        report.place = (origin_in_weights(self.model, self.always_nonfinite)
                        or origin_in_batch(self.batch) or finding.place)
        return report

    def save(self, report: RankReport, guard: StepGuard) -> bool:
        """Write batch and state of this rank, and note the folder in the report.

        Returns:
            Whether there is a folder. A full disk does not hide the message.
        """
        if self.sharded:
            return False
        rank = f'_rank{get_rank()}' if get_world_size() > 1 else ''
        iteration = self.runner.iter + 1
        folder = Path(self.runner.work_dir) / 'nonfinite' / f'iter_{iteration}{rank}'
        report.saved = str(folder)
        state = state_of(self.model, self.runner.optim_wrapper, self.before.generators)
        state |= dict(losses=report.losses, always_nonfinite=self.always_nonfinite,
                      momentum_updated=self.momentum_updated,
                      info=run_info(self.runner, report, guard))
        try:
            missing = write_record(
                folder, self.batch, state, self.runner.cfg.pretty_text,
                full_text(report, iteration, [report.rank]))
        except (OSError, RuntimeError) as error:
            report.saved = ''
            report.notes.append(f'Batch and state could not be saved: {error}')
            return False
        report.notes += [f'Not kept of the batch: {m}' for m in missing[:5]]
        return True
