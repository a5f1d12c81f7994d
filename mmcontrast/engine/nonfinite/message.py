"""What a user reads when a run stops on values that are not finite."""
import shlex
from dataclasses import dataclass, field

from mmengine.dist import get_world_size
from torch import Tensor

from ...errors import UserError
from .locate import Origin
from .tensors import describe

_WAYS_OUT = dict(
    weights='The weights were spoilt before this step: by an update that was too large '
            '(lower the learning rate, warm it up, clip the gradients: '
            'optim_wrapper=dict(clip_grad=dict(max_norm=1.0))), or in the checkpoint '
            'that the run began with.',
    batch='Look at the image and at the pipeline that made it: a broken file, a '
          'division by a std of 0, a log of 0. Take the image out of the data, or set '
          'skip=dict(budget=N) on NonFiniteGuardHook to pass over such batches.',
    forward='If it came after losses that grew: a lower learning rate, a longer '
            'warm-up, optim_wrapper=dict(clip_grad=dict(max_norm=1.0)). If it came out '
            'of calm: a division, log or sqrt of 0 in the place named, which wants an '
            'eps; an image or an annotation that is out of the ordinary; float16 that '
            'overflows at 65504, where bfloat16 does not.',
    backward='The slope of sqrt, norm or pow at 0, of a division by nearly 0, or of a '
             'log at 0: give it an eps before the operation, not after (clipping does '
             'not help, and torch.where does not hide it). Else a lower learning rate '
             'and a longer warm-up.',
    scale='Gradients overflow float16 at any loss scale: use bfloat16 '
          "(optim_wrapper=dict(dtype='bfloat16')) or full precision, or a lower "
          'learning rate with a longer warm-up. The table of tools/analysis/replay.py '
          'shows where the largest values are.')


class NonFiniteError(UserError, RuntimeError):
    """A loss or a gradient is non-finite, and the run stops."""


@dataclass
class RankReport:
    """One hit, as the ranks tell each other about it.

    Attributes:
        alarm: 'loss', 'gradient' or 'scale'.
        place: The first place; None if the batch gave finite values when run again.
        rank: Which rank it is about.
        losses: Named losses of the step.
        parameters: Those with gradients that are not finite.
        images: Of the batch, by path.
        situation: Lines on the run at that point.
        error: Why there was no second pass, or what ended it.
        saved: Folder, or '' if nothing was saved.
        notes: Further lines.
    """

    alarm: str
    place: Origin | None
    rank: int
    losses: dict[str, Tensor]
    parameters: list[str]
    images: list[str]
    situation: list[str]
    error: str = ''
    saved: str = ''
    notes: list[str] = field(default_factory=list)

    @property
    def is_source(self) -> bool:
        """Whether this rank's own batch brought it."""
        return self.place is not None or not all(
            bool(value.isfinite().all()) for value in self.losses.values())


def full_text(report: RankReport, iteration: int, ranks: list[int]) -> str:
    """The whole message.

    Args:
        iteration: As the log counts, from 1.
        ranks: Those whose own batch brought it; named where there are several.
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
    place = report.place
    lines = [f'First in {place.sentence}.', *(f'    {d}' for d in place.details)] if (
        place) else [_not_again(report)]
    if report.parameters:
        shown = ', '.join(report.parameters[:4])
        more = len(report.parameters) - 4
        lines.append(f'Gradients not finite: {shown}'
                     + (f' and {more} more.' if more > 0 else '.'))
    lines += report.situation
    if report.images:
        more = ['...'] if len(report.images) > 8 else []
        lines.append(f'Images: {", ".join(report.images[:8] + more)}')
    lines += report.notes
    if report.saved:
        lines.append(f'Batch and state: {report.saved}')
        lines.append('To run it again: python tools/analysis/replay.py '
                     + shlex.quote(report.saved))
    kind = 'scale' if report.alarm == 'scale' else place.kind if place else 'forward'
    return '\n'.join([*lines, f'What helps: {_WAYS_OUT[kind]}'])


def losses_text(losses: dict[str, Tensor]) -> str:
    """``loss_cls nan, loss_box 0.4121``; those that are not finite first."""
    parts = sorted(losses.items(), key=lambda item: bool(item[1].isfinite().all()))
    texts = [f'{name} {value.item():.4g}' if value.numel() == 1 else
             str(describe(value, name)) for name, value in parts]
    return ', '.join(texts) or 'the model names none'


def _not_again(report: RankReport) -> str:
    if report.error:
        return f'The place is unknown: {report.error}'
    if report.alarm == 'scale':
        return 'The gradients of this batch are finite when it is run again.'
    return ('The place is unknown: run again from the same state, the batch gave '
            'finite values. Something in the step is not deterministic '
            '(randomness=dict(deterministic=True) makes most of it so), or memory is '
            'faulty.')
