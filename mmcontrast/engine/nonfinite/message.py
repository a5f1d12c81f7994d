"""Write the message about a non-finite loss or gradient."""
import shlex
from dataclasses import dataclass, field

from mmengine.dist import get_world_size
from torch import Tensor

from ...errors import UserError
from .locate import Origin
from .tensors import describe

_REMEDIES = dict(
    weights='The weights became non-finite before this step: by too large an update '
            '(lower the learning rate, warm it up, clip the gradients: '
            'optim_wrapper=dict(clip_grad=dict(max_norm=1.0))).',
    batch='Check the image and the pipeline that read it: a damaged file, a division '
          'by a std of 0, a log of 0. Remove the image from the data, or set '
          'skip=dict(budget=N) on NonFiniteGuardHook to skip such batches.',
    forward='If the losses grew before: a lower learning rate, a longer warm-up, '
            'optim_wrapper=dict(clip_grad=dict(max_norm=1.0)). If they did not: look '
            'for a division, log or sqrt of 0 in the module named, which needs an eps; '
            'an unusual image or annotation; float16 that overflows at 65504, where '
            'bfloat16 does not.',
    backward='The gradient of sqrt, norm, pow or log at 0, or of a division by nearly '
             '0: add an eps before the operation, not after (clipping does not help, '
             'and torch.where does not mask it). Else a lower learning rate and a '
             'longer warm-up.',
    scale='Gradients overflow float16 at any loss scale: use bfloat16 '
          "(optim_wrapper=dict(dtype='bfloat16')) or full precision, or a lower "
          'learning rate with a longer warm-up. The table of tools/analysis/replay.py '
          'shows where the largest values are.')


class NonFiniteError(UserError, RuntimeError):
    """A loss or a gradient is non-finite, and the run stops."""


@dataclass
class RankReport:
    """What one rank found out about a non-finite step.

    Attributes:
        alarm: 'loss', 'gradient' or 'scale'.
        origin: Where it began; None if the batch gave finite values when run again.
        rank: The rank.
        losses: Named losses of the step.
        parameters: Those with non-finite gradients.
        images: Paths of the images of the batch.
        progress: Lines on the run at that point.
        error: Why the batch was not run again, or what ended that pass.
        saved: Folder, or '' if nothing was saved.
        notes: Further lines.
    """

    alarm: str
    origin: Origin | None
    rank: int
    losses: dict[str, Tensor]
    parameters: list[str]
    images: list[str]
    progress: list[str]
    error: str = ''
    saved: str = ''
    notes: list[str] = field(default_factory=list)

    @property
    def is_source(self) -> bool:
        """Whether the batch of this rank caused the non-finite step."""
        return self.origin is not None or not all(
            bool(value.isfinite().all()) for value in self.losses.values())


def full_text(report: RankReport, iteration: int, ranks: list[int]) -> str:
    """The whole message.

    Args:
        iteration: As the log counts, from 1.
        ranks: Those whose batch caused it.
    """
    return f'{_headline(report, iteration, ranks)}\n{_explain(report)}'


def _headline(report: RankReport, iteration: int, ranks: list[int]) -> str:
    what = dict(loss=f'the loss is not finite: {losses_text(report.losses)}',
                gradient='a gradient is not finite, the loss is: '
                         f'{losses_text(report.losses)}',
                scale='the loss scale of mixed precision has collapsed: gradients '
                      'overflow in step after step')[report.alarm]
    where = f' on rank {", ".join(map(str, ranks))}' if get_world_size() > 1 else ''
    return f'Iteration {iteration}{where}: {what}.'


def _explain(report: RankReport) -> str:
    lines = origin_lines(report.origin) if report.origin else [_no_origin(report)]
    if report.parameters:
        shown = ', '.join(report.parameters[:4])
        more = len(report.parameters) - 4
        lines.append(f'Non-finite gradients: {shown}'
                     + (f' and {more} more.' if more > 0 else '.'))
    lines += report.progress
    if report.images:
        more = ['...'] if len(report.images) > 8 else []
        lines.append(f'Images: {", ".join(report.images[:8] + more)}')
    lines += report.notes
    if report.saved:
        lines.append(f'Batch and state: {report.saved}')
        lines.append('To run it again: python tools/analysis/replay.py '
                     + shlex.quote(report.saved))
    kind = report.origin.kind if report.origin else 'forward'
    kind = 'scale' if report.alarm == 'scale' else kind
    return '\n'.join([*lines, f'What helps: {_REMEDIES[kind]}'])


def origin_lines(origin: Origin) -> list[str]:
    """The lines that name where non-finite values began."""
    return [f'First non-finite: {origin.sentence}.',
            *(f'    {detail}' for detail in origin.details)]


def losses_text(losses: dict[str, Tensor]) -> str:
    """``loss_cls nan, loss_box 0.4121``; non-finite ones first."""
    parts = sorted(losses.items(), key=lambda item: bool(item[1].isfinite().all()))
    texts = [f'{name} {value.item():.4g}' if value.numel() == 1 else
             str(describe(value, name)) for name, value in parts]
    return ', '.join(texts) or 'the model returns none by name'


def _no_origin(report: RankReport) -> str:
    if report.error:
        return f'The origin is unknown: {report.error}'
    if report.alarm == 'scale':
        return 'The gradients of this batch are finite when it is run again.'
    return ('The origin is unknown: run again from the same state, the batch gave '
            'finite values. Some operation is not deterministic (try '
            'randomness=dict(deterministic=True)), or memory is faulty.')
