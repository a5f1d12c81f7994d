"""Find the module whose forward pass gave the first non-finite value."""
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor, nn

from .tensors import TensorStats, describe, float_tensors


@dataclass
class Call:
    """One call of one module.

    Attributes:
        name: As in ``named_modules``; '' for the model itself.
        kind: Class of the module.
        number: 0 for its first call in this pass, and so on.
        parent: The call in which it happened.
        inputs, outputs: Of its floating-point tensors.
        gradients: ``('input' or 'output', stats)`` of gradients that reached it, in
            the order of the backward pass.
        contaminated: Whether something inside it gave non-finite values.
    """

    name: str
    kind: str
    number: int
    parent: 'Call | None'
    inputs: list[TensorStats]
    outputs: list[TensorStats] = field(default_factory=list)
    gradients: list[tuple[str, TensorStats]] = field(default_factory=list)
    contaminated: bool = False

    @property
    def title(self) -> str:
        """E.g. ``head.conv (Conv2d), call 2``."""
        again = f', call {self.number + 1}' if self.number else ''
        return f"{self.name or 'the model itself'} ({self.kind}){again}"


@dataclass
class Onset:
    """Where non-finite values first came out of finite ones.

    Attributes:
        call: The innermost call that produced them.
        receiver: The call that got them as input, if the code of ``call`` between two
            of its children produced them; None if they are in its output.
        previous: The last call that had ended.
        only_inf: Whether there are infinite values, but no NaN.
        absorbed: Whether a later module turned them into finite ones, as attention
            does with a mask of -inf; these are intended.
    """

    call: Call
    receiver: Call | None
    previous: Call | None
    only_inf: bool
    absorbed: bool = False


class ForwardTrace:
    """Records the inputs and outputs of every module during one forward pass.

    A module that turns finite tensors into non-finite ones is an onset; if none of its
    children did it, its own code did. Infinite masks that a later module absorbs do not
    count.

    Use as a context around the pass. Every tensor costs a wait for the device.

    Attributes:
        calls: In the order of being entered.
        onsets: In the order of their occurrence.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.onsets: list[Onset] = []
        self._numbers: Counter[str] = Counter()
        self._open: list[Call] = []
        self._ended: Call | None = None
        self._handles: list = []

    def __enter__(self) -> 'ForwardTrace':
        for name, module in self.model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._enter_hook(name),
                                                 with_kwargs=True),
                module.register_forward_hook(self._leave_hook, with_kwargs=True)]
        return self

    def __exit__(self, *error) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def first(self) -> Onset | None:
        """The first onset that was not absorbed; the first one if all were."""
        lasting = [onset for onset in self.onsets if not onset.absorbed]
        return (lasting or self.onsets or [None])[0]

    def on_input(self, call: Call, tensor: Tensor) -> None:
        """Overridden to trace gradients: ``tensor`` is an input of ``call``."""

    def on_output(self, call: Call, tensor: Tensor) -> None:
        """Overridden to trace gradients: ``tensor`` is an output of ``call``."""

    def _enter_hook(self, name: str):
        def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
            parent = self._open[-1] if self._open else None
            call = Call(name, type(module).__name__, self._numbers[name], parent, [])
            self._numbers[name] += 1
            for label, tensor in _input_tensors(args, kwargs):
                call.inputs.append(describe(tensor, label))
                self.on_input(call, tensor)
            if (parent is not None and _nonfinite(call.inputs)
                    and not _nonfinite(parent.inputs) and not parent.contaminated):
                self._add_onset(parent, call, call.inputs)
            self.calls.append(call)
            self._open.append(call)
        return enter

    def _leave_hook(self, module: nn.Module, args: tuple, kwargs: dict, output) -> None:
        call = self._open.pop()
        for label, tensor in float_tensors(output):
            call.outputs.append(describe(tensor, label))
            self.on_output(call, tensor)
        bad_inputs, bad_outputs = _nonfinite(call.inputs), _nonfinite(call.outputs)
        if bad_outputs and not bad_inputs and not call.contaminated:
            self._add_onset(call, None, call.outputs)
        elif bad_inputs and not bad_outputs and self.onsets:
            self._absorb(call)
        self._ended = call

    def _add_onset(self, call: Call, receiver: Call | None,
                   stats: list[TensorStats]) -> None:
        only_inf = not any(s.nan for s in stats)
        self.onsets.append(Onset(call, receiver, self._ended, only_inf))
        while call is not None:
            call.contaminated, call = True, call.parent

    def _absorb(self, call: Call) -> None:
        if self.onsets[-1].only_inf:
            self.onsets[-1].absorbed = True
            while call is not None:
                call.contaminated, call = False, call.parent


def _input_tensors(args: tuple, kwargs: dict):
    yield from float_tensors(args[0] if len(args) == 1 else args)
    yield from float_tensors(kwargs)


def _nonfinite(stats: list[TensorStats]) -> bool:
    return not all(s.is_finite for s in stats)
