"""What a run was doing when a value was not finite."""
import torch
from mmengine.dist import get_world_size
from mmengine.optim import ApexOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from .message import RankReport
from .step_guard import StepGuard


def guardable_wrappers(runner: Runner) -> list[OptimWrapper]:
    """The wrappers that can be guarded; a warning names any other."""
    found = (list(runner.optim_wrapper.values())
             if isinstance(runner.optim_wrapper, OptimWrapperDict)
             else [runner.optim_wrapper])
    fit = [w for w in found
           if isinstance(w, OptimWrapper) and not isinstance(w, ApexOptimWrapper)]
    for wrapper in found:
        if wrapper not in fit:
            runner.logger.warning(
                f'NonFiniteGuardHook does not know how to look into a step of '
                f'{type(wrapper).__name__}; losses and gradients that are not finite '
                'will pass unnoticed.')
    return fit


def wrapper_names(runner: Runner) -> list[str] | None:
    """Names in an ``OptimWrapperDict``; None for a single wrapper."""
    wrapper = runner.optim_wrapper
    return list(wrapper.keys()) if isinstance(wrapper, OptimWrapperDict) else None


def run_info(runner: Runner, report: RankReport, guard: StepGuard) -> dict:
    """Plain values on the run at this point."""
    return dict(
        iteration=runner.iter + 1, epoch=runner.epoch + 1, iter=runner.iter,
        max_iters=runner.max_iters, max_epochs=runner.max_epochs, rank=report.rank,
        world_size=get_world_size(), lr=runner.optim_wrapper.get_lr(),
        loss_scale=guard.loss_scale, alarm=report.alarm, torch=str(torch.__version__),
        device=str(next(guard.parameters()).device),
        scope=str(runner.cfg.get('default_scope') or 'mmengine'))


def situation(runner: Runner, guard: StepGuard) -> list[str]:
    """Where the run stood, in two lines at most."""
    rates = ', '.join(f'{name} {values[0]:.4g}'
                      for name, values in runner.optim_wrapper.get_lr().items())
    scale = guard.loss_scale
    scale = '' if scale is None else f', loss scale {scale:.4g}'
    lines = [f'Epoch {runner.epoch + 1}, {rates}{scale}.']
    scalars = runner.message_hub.log_scalars
    if 'train/loss' in scalars:
        last = scalars['train/loss'].data[0][-5:]
        lines.append(f'Losses before: {", ".join(f"{v:.4g}" for v in last)}')
    return lines
