"""Warn about schedules and hooks that do not fit the length of a run, or its unit."""
import math
from collections.abc import Iterator

from mmengine.hooks import CheckpointHook
from mmengine.optim import _ParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner


def warn_about_lengths(runner: Runner) -> None:
    """Log what acts too late or never, before a training starts."""
    by_iterations = isinstance(runner.train_loop, IterBasedTrainLoop)
    for name, scheduler in _schedulers(runner):
        if by_iterations and scheduler.by_epoch:
            runner.logger.warning(
                f'{name} counts epochs (by_epoch=True), but this run counts iterations '
                'and has a single epoch: the value does not change. Set by_epoch=False '
                'and lengths in iterations.')
            continue
        total, unit = ((runner.max_epochs, 'epochs') if scheduler.by_epoch
                       else (runner.max_iters, 'iterations'))
        late = _too_late(scheduler, total)
        if late:
            runner.logger.warning(
                f'{name} is meant for a longer run: {late}, but this one has {total} '
                f'{unit}. Correct param_scheduler, or leave out its end and T_max, '
                'which then follow train_cfg.')
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and by_iterations and hook.by_epoch:
            runner.logger.warning(
                f'{type(hook).__name__} counts epochs (by_epoch=True), but this run '
                'counts iterations and has a single epoch: there is no checkpoint '
                'before its end. Set default_hooks.checkpoint.by_epoch=False and an '
                'interval in iterations.')


def _schedulers(runner: Runner) -> Iterator[tuple[str, _ParamScheduler]]:
    found = runner.param_schedulers or []
    groups = found.values() if isinstance(found, dict) else [found]
    for group in groups:
        for number, scheduler in enumerate(group):
            if isinstance(scheduler, _ParamScheduler):
                yield f'param_scheduler[{number}] ({type(scheduler).__name__})', (
                    scheduler)


def _too_late(scheduler: _ParamScheduler, total: int) -> str | None:
    """What of a schedule lies beyond the end of a run of ``total`` steps."""
    if scheduler.begin >= total:
        return f'it begins at {scheduler.begin}'
    if total < scheduler.end < math.inf and scheduler.begin < scheduler.end:
        return f'it ends at {scheduler.end}'
    length = getattr(scheduler, 'T_max', None)
    if isinstance(length, int) and length > total:
        return f'its T_max is {length}'
    milestones = list(getattr(scheduler, 'milestones', None) or ())
    if milestones and min(milestones) + scheduler.begin >= total:
        return f'its first milestone is {min(milestones) + scheduler.begin}'
    return None
