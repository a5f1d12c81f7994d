"""Find the module whose backward pass gave the first non-finite gradient."""
from collections import defaultdict
from dataclasses import dataclass

from torch import Tensor, nn

from .forward_trace import Call, ForwardTrace
from .tensors import TensorStats, describe


@dataclass
class GradientEvent:
    """A gradient that the backward pass computed.

    Attributes:
        kind: Of the 'input' or 'output' of ``call``, or of a 'parameter'.
        call: The call; None for a parameter.
        name: Of the parameter.
        tensor: Identity of the tensor in the graph: the output of one call is the input
            of another.
        stats: Of the gradient.
    """

    kind: str
    call: Call | None
    name: str
    tensor: tuple
    stats: TensorStats


class GradientTrace(ForwardTrace):
    """Records the gradients of a backward pass beside the forward pass.

    Hooks are on the tensors between modules: full backward hooks of modules do not work
    with in-place operations.

    Attributes:
        events: In the order of the backward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.events: list[GradientEvent] = []
        self._readers: dict[tuple, list[Call]] = defaultdict(list)
        self._producers: dict[tuple, Call] = {}

    def __enter__(self) -> 'GradientTrace':
        for name, param in self.model.named_parameters():
            if param.requires_grad:
                self._handles.append(param.register_hook(
                    self._recorder('parameter', None, (name,), name)))
        return super().__enter__()

    @property
    def first_event(self) -> GradientEvent | None:
        """The first non-finite gradient."""
        return next((e for e in self.events if not e.stats.is_finite), None)

    def on_input(self, call: Call, tensor: Tensor) -> None:
        if tensor.requires_grad:
            self._readers[_identity(tensor)].append(call)
            tensor.register_hook(self._recorder('input', call, _identity(tensor)))

    def on_output(self, call: Call, tensor: Tensor) -> None:
        if tensor.requires_grad:
            self._producers.setdefault(_identity(tensor), call)
            tensor.register_hook(self._recorder('output', call, _identity(tensor)))

    def readers(self, event: GradientEvent) -> list[Call]:
        """Calls with the tensor of an event as input, and finite output gradients.

        The backward pass of one of them gave the event. Of nested calls, the innermost.
        """
        readers = [call for call in self._readers[event.tensor]
                   if _is_finite_at_output(call)]
        outer = [call.parent for call in readers]
        return [call for call in readers if all(call is not one for one in outer)]

    def producer(self, event: GradientEvent) -> Call | None:
        """The innermost call with the tensor of an event as output."""
        return self._producers.get(event.tensor)

    def _recorder(self, kind: str, call: Call | None, tensor: tuple, name: str = ''):
        def record(gradient: Tensor) -> None:
            stats = describe(gradient, name)
            self.events.append(GradientEvent(kind, call, name, tensor, stats))
            if call is not None:
                call.gradients.append((kind, stats))
        return record


def _is_finite_at_output(call: Call) -> bool:
    stats = [stats for kind, stats in call.gradients if kind == 'output']
    return bool(stats) and all(s.is_finite for s in stats)


def _identity(tensor: Tensor) -> tuple:
    """The same for the output of one module and the input of the next."""
    if tensor.grad_fn is None:
        return (id(tensor),)
    # The node itself: its id could be reused once the node is gone.
    return tensor.grad_fn, tensor.output_nr
