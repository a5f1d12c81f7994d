"""Which module's backward gave the first gradient that is not finite."""
from collections import defaultdict
from dataclasses import dataclass

from torch import Tensor, nn

from .forward_trace import Call, CallTrace
from .tensors import TensorFacts, describe


@dataclass
class GradientEvent:
    """A gradient that the backward pass computed.

    Attributes:
        kind: Of the 'input' or 'output' of ``call``, or of a 'parameter'.
        call: The call; None for a parameter.
        name: Of the parameter.
        tensor: Which tensor of the graph; one tensor is one call's output and
            another one's input.
        facts: What is in the gradient.
    """

    kind: str
    call: Call | None
    name: str
    tensor: tuple
    facts: TensorFacts


class GradientTrace(CallTrace):
    """Watches a forward and its backward pass.

    Hooks sit on the tensors between modules, not on modules, whose full backward hooks
    do not go together with operations in place.

    Attributes:
        events: In the order of the backward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.events: list[GradientEvent] = []
        self._readers: dict[tuple, list[Call]] = defaultdict(list)
        self._makers: dict[tuple, Call] = {}

    def __enter__(self) -> 'GradientTrace':
        for name, param in self.model.named_parameters():
            if param.requires_grad:
                self._handles.append(param.register_hook(
                    self._watch('parameter', None, (name,), name)))
        return super().__enter__()

    @property
    def first_event(self) -> GradientEvent | None:
        """The first gradient that is not finite."""
        return next((e for e in self.events if not e.facts.finite), None)

    def sees_input(self, call: Call, tensor: Tensor) -> None:
        if tensor.requires_grad:
            self._readers[_identity(tensor)].append(call)
            tensor.register_hook(self._watch('input', call, _identity(tensor)))

    def sees_output(self, call: Call, tensor: Tensor) -> None:
        if tensor.requires_grad:
            self._makers.setdefault(_identity(tensor), call)
            tensor.register_hook(self._watch('output', call, _identity(tensor)))

    def readers(self, event: GradientEvent) -> list[Call]:
        """Who read the tensor of an event and had finite gradients at its outputs.

        The backward pass of one of them made the event. Of calls within each other,
        the innermost one.
        """
        sound = [call for call in self._readers[event.tensor] if _sound(call)]
        outer = [call.parent for call in sound]
        return [call for call in sound if all(call is not one for one in outer)]

    def maker(self, event: GradientEvent) -> Call | None:
        """The innermost call that gave the tensor of an event."""
        return self._makers.get(event.tensor)

    def _watch(self, kind: str, call: Call | None, tensor: tuple, name: str = ''):
        def look(gradient: Tensor) -> None:
            facts = describe(gradient, name)
            self.events.append(GradientEvent(kind, call, name, tensor, facts))
            if call is not None:
                call.gradients.append((kind, facts))
        return look


def _sound(call: Call) -> bool:
    facts = [facts for kind, facts in call.gradients if kind == 'output']
    return bool(facts) and all(f.finite for f in facts)


def _identity(tensor: Tensor) -> tuple:
    """One and the same for a tensor on its way from one module to the next."""
    if tensor.grad_fn is None:
        return (id(tensor),)
    # The node itself, not its id: held, it is not made anew at the next look.
    return tensor.grad_fn, tensor.output_nr
