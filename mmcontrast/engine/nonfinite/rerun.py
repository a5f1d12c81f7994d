"""Running a batch again to see where values stop being finite."""
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from .forward_trace import Call
from .gradient_trace import GradientTrace
from .locate import Origin, origin_of_backward, origin_of_forward
from .step_snapshot import momentum_encoders_frozen
from .tensors import float_tensors, nonfinite_names


@dataclass
class RerunResult:
    """What one more pass over a batch showed.

    Attributes:
        place: Where it first went wrong; None if all was finite this time.
        losses: What the model's forward gave, by name; detached, on the CPU.
        calls: Of modules, in the order of being entered.
        parameters: Those whose gradient is not finite, in the order of the model.
        backward_done: Whether gradients were computed; they are not if the loss is not
            finite.
        error: What ended the pass, if it broke.
    """

    place: Origin | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    backward_done: bool = False
    error: str = ''


def rerun_step(model: nn.Module, batch: object, *, loss_scale: float | None = None,
            context: Callable[[], AbstractContextManager] = nullcontext,
            wrappers: list[str] | None = None, backward: bool = True,
            momentum_updated: bool = False) -> RerunResult:
    """Run a training step up to the optimizer, watching every module.

    The model's own ``train_step`` runs, on an optimizer wrapper that takes no step.
    Weights stay as they are; buffers, generators and ``.grad`` do not.

    Args:
        model: Without wrappers of distribution.
        batch: As the data loader gives it.
        loss_scale: Of mixed precision.
        context: Of the forward pass, e.g. autocast.
        wrappers: Names, where the model trains with an ``OptimWrapperDict``.
        backward: Whether to look at gradients where the loss is finite.
        momentum_updated: The momentum twins have made the move of this step already.

    Returns:
        The finding. A pass that breaks off gives what it saw until then.
    """
    model.zero_grad(set_to_none=True)
    dry = [DryWrapper(model, context, loss_scale or 1.0, backward)
           for _ in wrappers or ['']]
    wrapper = OptimWrapperDict(**dict(zip(wrappers, dry, strict=True))) if (
        wrappers) else dry[0]
    finding = RerunResult()
    with (GradientTrace(model) as trace, _losses_into(finding, model),
          momentum_encoders_frozen(model, momentum_updated)):
        try:
            model.train_step(batch, wrapper)
        except Exception as error:
            finding.error = f'{type(error).__name__}: {error}'
    finding.calls = trace.calls
    finding.backward_done = any(one.backward_done for one in dry)
    finding.parameters = nonfinite_names(
        (name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    if finding.error or any(not math.isfinite(one.loss) for one in dry):
        finding.place = origin_of_forward(trace, model)
    if finding.place is None and finding.backward_done:
        finding.place = origin_of_backward(trace, model)
    return finding


class DryWrapper(OptimWrapper):
    """An optimizer wrapper that goes as far as the gradients.

    Args:
        model: Whose gradients.
        context: See :func:`examine`.
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
        """Gradients of a finite loss; the first that is not finite is remembered."""
        self._inner_count += 1
        if math.isfinite(self.loss):
            self.loss = loss.item()
        if self._with_backward and math.isfinite(self.loss):
            (loss * self._scale).backward(**kwargs)
            self.backward_done = True

    def step(self, **kwargs) -> None:
        """Nothing: the weights stay."""

    def zero_grad(self, **kwargs) -> None:
        """Nothing: the gradients are looked at later."""


def loss_terms(output: object) -> dict[str, Tensor]:
    """Named losses out of what a model's forward gave; detached."""
    if not isinstance(output, dict):
        return {}
    return {name: value.detach() for name, value in float_tensors(output)}


@contextmanager
def _losses_into(finding: RerunResult, model: nn.Module) -> Iterator[None]:
    def keep(module: nn.Module, args: tuple, output: object) -> None:
        finding.losses |= {k: v.cpu() for k, v in loss_terms(output).items()}

    handle = model.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()
