"""Momentum twins of modules."""
from copy import deepcopy

import torch
from mmengine.model import BaseModule
from torch import nn


class MomentumEncoder(BaseModule):
    """Copies of modules whose parameters follow the originals as a moving average.

    ``twin <- m * twin + (1 - m) * online``, parameters only: batch-norm buffers are the
    twin's own, moved by its own forward passes (mmengine's averaged models copy or
    average them). The twin never receives a gradient.

    The copies are children under the names given, so a model that keeps the twin as
    ``self.momentum`` has checkpoint keys ``momentum.backbone.*``.

    Args:
        online: The trained modules by name. They stay the property of the caller.

    Attributes:
        coefficient: m, set for every step by
            :class:`mmcontrast.engine.hooks.MomentumHook`; 1 leaves the twin as it is.
    """

    def __init__(self, **online: nn.Module):
        super().__init__()
        # A plain dict: the online modules are no children of the twin.
        self._online = online
        for name, module in online.items():
            self.add_module(name, deepcopy(module).requires_grad_(False))
        self.coefficient: float | None = None
        self._pairs: tuple[list, list] | None = None

    def init_weights(self):
        """Start as an exact copy, buffers included; called after the online init."""
        for name, module in self._online.items():
            getattr(self, name).load_state_dict(module.state_dict())

    @torch.no_grad()
    def update(self):
        """One step of the average over all parameters, in place.

        Raises:
            RuntimeError: If nobody set the coefficient.
        """
        if self.coefficient is None:
            raise RuntimeError(
                'The momentum twin has no coefficient. In a config, add '
                "momentum=dict(type='MomentumHook') to default_hooks; in a loop of "
                'your own, set model.momentum.coefficient before each step.')
        if self.coefficient == 1:
            return
        if self._pairs is None:
            self._pairs = (
                [p for name in self._online for p in getattr(self, name).parameters()],
                [p for m in self._online.values() for p in m.parameters()])
        momentum_encoder, online = self._pairs
        torch._foreach_lerp_(momentum_encoder, online, 1 - self.coefficient)
