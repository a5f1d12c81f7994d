"""Which module's forward gave the first value that is not finite."""
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor, nn

from .tensors import TensorFacts, describe, float_tensors


@dataclass
class Call:
    """One call of one module.

    Attributes:
        name: As in ``named_modules``; '' for the model itself.
        kind: Class of the module.
        number: 0 for its first call in this pass, and so on.
        parent: The call in which it happened.
        inputs, outputs: Their floating tensors.
        gradients: ``('input' or 'output', facts)`` of gradients that reached it, in
            the order of the backward pass.
        tainted: Whether something inside it gave values that are not finite.
    """

    name: str
    kind: str
    number: int
    parent: 'Call | None'
    inputs: list[TensorFacts]
    outputs: list[TensorFacts] = field(default_factory=list)
    gradients: list[tuple[str, TensorFacts]] = field(default_factory=list)
    contaminated: bool = False

    @property
    def title(self) -> str:
        """E.g. ``head.conv (Conv2d), call 2``."""
        again = f', call {self.number + 1}' if self.number else ''
        return f"{self.name or 'the model itself'} ({self.kind}){again}"


@dataclass
class Birth:
    """A place where values that are not finite came out of finite ones.

    Attributes:
        call: The innermost call that did it.
        before: The call that got them, if it was the code of ``call`` between two of
            its children; None if they are in its output.
        after: The last call that had ended.
        only_inf, absorbed: Infinite values that a later module took in its stride, as
            attention does with a mask of -inf, are no trouble.
    """

    call: Call
    before: Call | None
    after: Call | None
    only_inf: bool
    absorbed: bool = False


class CallTrace:
    """Watches one forward pass of a model, module by module.

    A module that gets finite tensors and gives others is where they were born; where
    no child of a module did it, its own code did. Several places can show up; masks of
    -inf that a later module takes in its stride are passed over.

    Use as a context around the pass. Every look waits for the device.

    Attributes:
        calls: In the order of being entered.
        births: In the order of happening.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.births: list[Birth] = []
        self._numbers: Counter[str] = Counter()
        self._open: list[Call] = []
        self._ended: Call | None = None
        self._handles: list = []

    def __enter__(self) -> 'CallTrace':
        for name, module in self.model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(name),
                                                 with_kwargs=True),
                module.register_forward_hook(self._leaving, with_kwargs=True)]
        return self

    def __exit__(self, *error) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def first(self) -> Birth | None:
        """The first birth, unless it came to nothing and another one followed."""
        lasting = [birth for birth in self.births if not birth.absorbed]
        return (lasting or self.births or [None])[0]

    def sees_input(self, call: Call, tensor: Tensor) -> None:
        """For gradients: ``tensor`` goes into ``call``."""

    def sees_output(self, call: Call, tensor: Tensor) -> None:
        """For gradients: ``tensor`` comes out of ``call``."""

    def _entering(self, name: str):
        def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
            parent = self._open[-1] if self._open else None
            call = Call(name, type(module).__name__, self._numbers[name], parent, [])
            self._numbers[name] += 1
            for label, tensor in _given(args, kwargs):
                call.inputs.append(describe(tensor, label))
                self.sees_input(call, tensor)
            born_before = (parent is not None and _bad(call.inputs)
                           and not _bad(parent.inputs) and not parent.contaminated)
            if born_before:
                self._birth(parent, call, call.inputs)
            self.calls.append(call)
            self._open.append(call)
        return enter

    def _leaving(self, module: nn.Module, args: tuple, kwargs: dict, output) -> None:
        call = self._open.pop()
        for label, tensor in float_tensors(output):
            call.outputs.append(describe(tensor, label))
            self.sees_output(call, tensor)
        if _bad(call.outputs) and not _bad(call.inputs) and not call.contaminated:
            self._birth(call, None, call.outputs)
        elif _bad(call.inputs) and not _bad(call.outputs) and self.births:
            self._absorb(call)
        self._ended = call

    def _birth(self, call: Call, before: Call | None, facts: list[TensorFacts]) -> None:
        only_inf = not any(f.nan for f in facts)
        self.births.append(Birth(call, before, self._ended, only_inf))
        while call is not None:
            call.contaminated, call = True, call.parent

    def _absorb(self, call: Call) -> None:
        if self.births[-1].only_inf:
            self.births[-1].absorbed = True
            while call is not None:
                call.contaminated, call = False, call.parent


def _given(args: tuple, kwargs: dict):
    yield from float_tensors(args[0] if len(args) == 1 else args)
    yield from float_tensors(kwargs)


def _bad(facts: list[TensorFacts]) -> bool:
    return not all(f.finite for f in facts)
