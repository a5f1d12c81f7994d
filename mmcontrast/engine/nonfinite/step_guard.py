"""Looking between the backward pass and the optimizer step."""
import functools
import math
from collections.abc import Callable, Iterator

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor

from .tensors import magnitude

#: So many overflows in a row are no search for a loss scale any more: a dynamic one
#: has come from 2**16 down to 2**-14.
OVERFLOWS = 30


class StepGuard:
    """Calls back before an optimizer steps on a loss or gradient that is not finite.

    mmengine has no hook there, so ``backward`` and ``step`` of one wrapper object are
    replaced, with their signatures, until :meth:`remove`. Every backward pass is
    looked at, so that with accumulated gradients the batch that brought the trouble is
    known. The look is one pass over the gradients and one wait for the device; several
    ranks add theirs up first, so that all decide alike.

    With a loss scaler infinite gradients are its daily business, and only a scale that
    has collapsed counts: it is below ``min_scale``, or :data:`OVERFLOWS` passes in a
    row have overflowed.

    Args:
        wrapper: An ``OptimWrapper``, of any optimizer.
        on_alarm: Called with this guard, the loss and one of 'loss', 'gradient' and
            'scale'. Raises, or returns whether the step is to be dropped.
        min_scale: Loss scale below which an overflow is an alarm.

    Attributes:
        dropping: Whether the coming step is to be left out.
    """

    def __init__(self, wrapper: OptimWrapper,
                 on_alarm: Callable[['StepGuard', Tensor | None, str], bool],
                 min_scale: float = 2.0 ** -13) -> None:
        self.wrapper, self.on_alarm, self.min_scale = wrapper, on_alarm, min_scale
        self._own = {name: wrapper.__dict__.get(name) for name in ('backward', 'step')}
        self._backward, self._step = wrapper.backward, wrapper.step
        self._looked = self.dropping = False
        self._overflows = 0

    def install(self) -> None:
        """Start looking."""
        self.wrapper.backward = _in_place_of(self._backward, self._guarded_backward)
        self.wrapper.step = _in_place_of(self._step, self._guarded_step)

    def remove(self) -> None:
        """Leave the wrapper as it was."""
        for name, own in self._own.items():
            self.wrapper.__dict__.pop(name, None)
            if own is not None:
                self.wrapper.__dict__[name] = own

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
        self._look(loss)
        self._looked = True

    def _guarded_step(self, **kwargs) -> None:
        if not self._looked:
            # The model called loss.backward() itself.
            self._look(None)
        drop, self._looked, self.dropping = self.dropping, False, False
        if not drop:
            self._step(**kwargs)

    def _look(self, loss: Tensor | None) -> None:
        loss_size, grad_size = self._sizes(loss)
        if not math.isfinite(loss_size):
            alarm = 'loss'
        elif math.isfinite(grad_size):
            self._overflows = 0
            return
        elif self._scaler():
            self._overflows += 1
            if (self._overflows < OVERFLOWS
                    and self._scaler().get_scale() >= self.min_scale):
                return
            alarm = 'scale'
        else:
            alarm = 'gradient'
        if self.on_alarm(self, loss, alarm):
            # Later backward passes of the same step start from clean gradients; the
            # step itself is left out, as a loss scaler leaves one out.
            self.dropping = True
            self.wrapper.zero_grad()

    def _sizes(self, loss: Tensor | None) -> list[float]:
        """Of the loss and of the gradients, of all ranks; not finite means trouble."""
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


def _in_place_of(original: Callable, guarded: Callable) -> Callable:
    """``guarded`` under the name, signature and marks of ``original``; schedulers know
    by a mark that a step counts its calls."""
    @functools.wraps(original)
    def call(*args, **kwargs):
        return guarded(*args, **kwargs)
    return call
