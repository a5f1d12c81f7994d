"""Check loss and gradients between the backward pass and the optimizer step."""
import functools
import math
from collections.abc import Callable, Iterator

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import (
    AmpOptimWrapper,
    ApexOptimWrapper,
    OptimWrapper,
    OptimWrapperDict,
)
from mmengine.runner import Runner
from torch import Tensor

from .tensors import magnitude

#: Consecutive overflows after which a loss scaler is no longer searching: a dynamic
#: scale has gone from 2**16 down to 2**-14.
MAX_OVERFLOWS = 30


class StepGuard:
    """Calls back before an optimizer steps on a non-finite loss or gradient.

    mmengine has no hook there, so ``backward`` and ``step`` of one wrapper object are
    replaced, with their signatures, until :meth:`remove`. Every backward pass is
    checked, so that with accumulated gradients the bad batch is known. A check is one
    pass over the gradients and one wait for the device; ranks sum their results first,
    so that all decide alike.

    Infinite gradients are normal for a loss scaler; only a collapsed scale is an alarm:
    below ``min_scale``, or :data:`MAX_OVERFLOWS` consecutive overflows.

    Args:
        wrapper: An ``OptimWrapper``, of any optimizer.
        on_alarm: Called with this guard, the loss and one of 'loss', 'gradient' and
            'scale'. Raises, or returns whether to skip the step.
        min_scale: Loss scale below which an overflow is an alarm.

    Attributes:
        dropping: Whether the next step is to be skipped.
    """

    def __init__(self, wrapper: OptimWrapper,
                 on_alarm: Callable[['StepGuard', Tensor | None, str], bool],
                 min_scale: float = 2.0 ** -13) -> None:
        self.wrapper, self.on_alarm, self.min_scale = wrapper, on_alarm, min_scale
        self._own = {name: vars(wrapper).get(name) for name in ('backward', 'step')}
        self._backward, self._step = wrapper.backward, wrapper.step
        self._checked = self.dropping = False
        self._overflows = 0

    def install(self) -> None:
        """Start checking."""
        self.wrapper.backward = _replacement(self._backward, self._guarded_backward)
        self.wrapper.step = _replacement(self._step, self._guarded_step)

    def remove(self) -> None:
        """Restore the methods of the wrapper."""
        for name, own in self._own.items():
            if own is not None:
                setattr(self.wrapper, name, own)
            elif name in vars(self.wrapper):
                delattr(self.wrapper, name)

    @property
    def loss_scale(self) -> float | None:
        """Scale of the loss in mixed precision; None without a scaler."""
        scaler = self._scaler()
        return scaler.get_scale() if scaler else None

    def parameters(self) -> Iterator[Tensor]:
        """What the optimizer trains."""
        for group in self.wrapper.optimizer.param_groups:
            yield from group['params']

    def _guarded_backward(self, loss: Tensor, **kwargs) -> None:
        self._backward(loss, **kwargs)
        self._check(loss)
        self._checked = True

    def _guarded_step(self, **kwargs) -> None:
        if not self._checked:
            # The model called loss.backward() itself.
            self._check(None)
        drop, self._checked, self.dropping = self.dropping, False, False
        if not drop:
            self._step(**kwargs)

    def _check(self, loss: Tensor | None) -> None:
        loss_size, grad_size = self._sizes(loss)
        if not math.isfinite(loss_size):
            alarm = 'loss'
        elif math.isfinite(grad_size):
            self._overflows = 0
            return
        elif self._scaler():
            self._overflows += 1
            if (self._overflows < MAX_OVERFLOWS
                    and self._scaler().get_scale() >= self.min_scale):
                return
            alarm = 'scale'
        else:
            alarm = 'gradient'
        if self.on_alarm(self, loss, alarm):
            # Later backward passes of the same step start from zero gradients; the
            # step itself is skipped, as a loss scaler skips one.
            self.dropping = True
            self.wrapper.zero_grad()

    def _sizes(self, loss: Tensor | None) -> list[float]:
        """Of loss and gradients, summed over ranks; non-finite if a value may be."""
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        if loss is None:
            loss = torch.zeros((), device=grads[0].device if grads else 'cpu')
        sizes = torch.stack([loss.detach().abs().float().sum(),
                             magnitude(grads, loss.device)])
        if get_world_size() > 1:
            all_reduce(sizes)
        return sizes.tolist()

    def _scaler(self):
        scaler = (self.wrapper.loss_scaler
                  if isinstance(self.wrapper, AmpOptimWrapper) else None)
        return scaler if scaler is not None and scaler.is_enabled() else None


def guardable_wrappers(runner: Runner) -> list[OptimWrapper]:
    """The optimizer wrappers that can be guarded; a warning names any other."""
    found = (list(runner.optim_wrapper.values())
             if isinstance(runner.optim_wrapper, OptimWrapperDict)
             else [runner.optim_wrapper])
    fit = [w for w in found
           if isinstance(w, OptimWrapper) and not isinstance(w, ApexOptimWrapper)]
    for wrapper in found:
        if wrapper not in fit:
            runner.logger.warning(
                f'NonFiniteGuardHook cannot check the steps of '
                f'{type(wrapper).__name__}; non-finite losses and gradients will pass '
                'unnoticed.')
    return fit


def _replacement(original: Callable, guarded: Callable) -> Callable:
    """``guarded`` with the name, signature and attributes of ``original``, by which
    schedulers know that a step counts its calls."""
    @functools.wraps(original)
    def call(*args, **kwargs):
        return guarded(*args, **kwargs)
    return call
