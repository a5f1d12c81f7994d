"""Keep the state before a training step: buffers, momentum encoders, RNG state."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseAveragedModel
from torch import Tensor, nn

from ...models.momentum import MomentumEncoder
from ..resume.rng_state import RNGState, get_rng_state, restore_rng_state


class StepSnapshot:
    """A copy of RNG state, buffers and momentum encoders, to restore after a bad step.

    A forward pass changes batch-norm statistics, queues and centers even if its loss is
    NaN. The copies are allocated once and refreshed by multi-tensor copies; batch norm
    does not count its changes in ``Tensor._version``, so everything is copied.

    Args:
        model: Its buffers are kept.
        with_momentum: Also keep the parameters of momentum encoders, which change in
            the forward pass; they are as large as the network.
    """

    def __init__(self, model: nn.Module, with_momentum: bool = False) -> None:
        self._slots = [(module._buffers, name) for module in model.modules()
                       for name in module._buffers]
        for momentum_encoder in momentum_encoders(model) if with_momentum else ():
            self._slots += [(module._parameters, name)
                            for module in momentum_encoder.modules()
                            for name in module._parameters]
        self._kept: list[Tensor | None] = []
        self._groups: list[tuple[list[int], list[Tensor]]] = []
        self.rng_state: RNGState | None = None

    @torch.no_grad()
    def take(self) -> None:
        """Copy the current state."""
        self.rng_state = get_rng_state()
        now = self._now()
        if [_shape(t) for t in now] != [_shape(t) for t in self._kept]:
            self._allocate(now)
        for indices, copies in self._groups:
            torch._foreach_copy_(copies, [now[i] for i in indices])

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the state of :meth:`take`."""
        for (owner, name), kept in zip(self._slots, self._kept, strict=True):
            present = owner.get(name)
            if kept is not None and _shape(present) == _shape(kept):
                present.copy_(kept)
            elif kept is not present:
                owner[name] = None if kept is None else kept.clone()
        restore_rng_state(self.rng_state)

    def _now(self) -> list[Tensor | None]:
        tensors = [owner.get(name) for owner, name in self._slots]
        return [None if t is None else t.detach() for t in tensors]

    def _allocate(self, now: list[Tensor | None]) -> None:
        self._kept = [None if t is None else t.clone() for t in now]
        groups: dict[tuple, list[int]] = {}
        for i, tensor in enumerate(now):
            if tensor is not None:
                groups.setdefault((tensor.device, tensor.dtype), []).append(i)
        self._groups = [(indices, [self._kept[i] for i in indices])
                        for indices in groups.values()]


def momentum_encoders(model: nn.Module) -> list[nn.Module]:
    """Modules inside that are a moving average of others: ours, mmengine's."""
    return [module for module in model.modules()
            if isinstance(module, MomentumEncoder | BaseAveragedModel)]


@contextmanager
def frozen_momentum_encoders(model: nn.Module, frozen: bool = True) -> Iterator[None]:
    """Inside, a forward pass does not update the momentum encoders.

    Methods update them before they use them. A second pass over a batch reproduces the
    first one if it starts from updated encoders and leaves them as they are.
    """
    updates = [(encoder, 'update' if isinstance(encoder, MomentumEncoder)
                else 'update_parameters') for encoder in momentum_encoders(model)]
    updates = updates if frozen else []
    for encoder, name in updates:
        setattr(encoder, name, lambda *args, **kwargs: None)
    try:
        yield
    finally:
        for encoder, name in updates:
            delattr(encoder, name)


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape
