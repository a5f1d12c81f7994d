"""Run a batch again to find where its values become non-finite."""
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from .forward_trace import Call
from .gradient_trace import GradientTrace
from .locate import Origin, origin_of_backward, origin_of_forward
from .step_snapshot import frozen_momentum_encoders
from .tensors import float_tensors, nonfinite_names


@dataclass
class RerunResult:
    """What one more pass over a batch showed.

    Attributes:
        origin: Where non-finite values began; None if all were finite this time.
        losses: What the model's forward gave, by name; detached, on the CPU.
        calls: Of modules, in the order of being entered.
        parameters: Those with a non-finite gradient, in the order of the model.
        backward_done: Whether gradients were computed; only if the loss is finite.
        error: What ended the pass early, if anything.
    """

    origin: Origin | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    backward_done: bool = False
    error: str = ''


def rerun_step(model: nn.Module, batch: object, *, loss_scale: float | None = None,
               context: Callable[[], AbstractContextManager] = nullcontext,
               wrappers: list[str] | None = None, backward: bool = True,
               momentum_updated: bool = False) -> RerunResult:
    """Run a training step up to the optimizer, tracing every module.

    The model's own ``train_step`` runs, on an optimizer wrapper that takes no step.
    Weights stay as they are; buffers, generators and ``.grad`` do not.

    Args:
        model: Without wrappers of distribution.
        batch: As the data loader gives it.
        loss_scale: Of mixed precision.
        context: Of the forward pass, e.g. autocast.
        wrappers: Names, where the model trains with an ``OptimWrapperDict``.
        backward: Whether to compute gradients if the loss is finite.
        momentum_updated: Whether momentum encoders are updated for this step already.

    Returns:
        The result; of a pass that fails, what was traced until then.
    """
    model.zero_grad(set_to_none=True)
    dry = {name: DryRunWrapper(model, context, loss_scale or 1.0, backward)
           for name in wrappers or ['']}
    wrapper = OptimWrapperDict(**dry) if wrappers else dry['']
    result = RerunResult()
    handle = model.register_forward_hook(
        lambda module, args, output: result.losses.update(
            {name: value.cpu() for name, value in loss_terms(output).items()}))
    with (GradientTrace(model) as trace,
          frozen_momentum_encoders(model, momentum_updated)):
        try:
            model.train_step(batch, wrapper)
        except Exception as error:
            result.error = f'{type(error).__name__}: {error}'
        finally:
            handle.remove()
    result.calls = trace.calls
    result.backward_done = any(one.backward_done for one in dry.values())
    result.parameters = nonfinite_names(
        (name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    if result.error or any(not math.isfinite(one.loss) for one in dry.values()):
        result.origin = origin_of_forward(trace, model)
    if result.origin is None and result.backward_done:
        result.origin = origin_of_backward(trace, model)
    return result


class DryRunWrapper(OptimWrapper):
    """An optimizer wrapper that goes as far as the gradients.

    Args:
        model: Whose gradients.
        context: See :func:`rerun_step`.
        loss_scale: Factor of the loss.
        backward: Whether to compute gradients at all.
    """

    def __init__(self, model: nn.Module, context: Callable, loss_scale: float,
                 backward: bool) -> None:
        super().__init__(torch.optim.SGD(model.parameters(), lr=0.0))
        self.loss, self.backward_done = 0.0, False
        self._context, self._scale, self._with_backward = context, loss_scale, backward

    def optim_context(self, model: nn.Module) -> AbstractContextManager:
        return self._context()

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Compute gradients of a finite loss; keep the first non-finite one."""
        self._inner_count += 1
        if math.isfinite(self.loss):
            self.loss = loss.item()
        if self._with_backward and math.isfinite(self.loss):
            (loss * self._scale).backward(**kwargs)
            self.backward_done = True

    def step(self, **kwargs) -> None:
        """Do nothing: the weights stay."""

    def zero_grad(self, **kwargs) -> None:
        """Do nothing: the gradients are inspected later."""


def loss_terms(output: object) -> dict[str, Tensor]:
    """Named losses in the output of a model's forward; detached."""
    if not isinstance(output, dict):
        return {}
    return {name: value.detach() for name, value in float_tensors(output)}
