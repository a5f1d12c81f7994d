"""Average the weights of modules: momentum (EMA) encoders."""
from copy import deepcopy

import torch
from mmengine.model import BaseModule
from torch import nn


class MomentumEncoder(BaseModule):
    """Copies of modules whose parameters follow the originals as a moving average.

    ``momentum <- m * momentum + (1 - m) * online``, parameters only: batch-norm buffers
    are its own, updated by its own forward passes (mmengine's averaged models copy or
    average them). It never receives a gradient.

    The copies are children under the names given, so a model that keeps the encoder as
    ``self.momentum`` has checkpoint keys ``momentum.backbone.*``.

    Args:
        online: The trained modules by name. They do not become children.

    Attributes:
        coefficient: m, set for every step by
            :class:`mmcontrast.engine.hooks.MomentumHook`; 1 disables the update.
    """

    def __init__(self, **online: nn.Module):
        super().__init__()
        # A plain dict: the online modules do not become children.
        self._online = online
        for name, module in online.items():
            self.add_module(name, deepcopy(module).requires_grad_(False))
        self.coefficient: float | None = None
        self._pairs: tuple[list, list] | None = None

    def init_weights(self):
        """Copy the online modules, buffers included; called after their init."""
        for name, module in self._online.items():
            getattr(self, name).load_state_dict(module.state_dict())

    @torch.no_grad()
    def update(self):
        """Update the moving average of all parameters, in place.

        Raises:
            RuntimeError: If the coefficient is not set.
        """
        if self.coefficient is None:
            raise RuntimeError(
                'The momentum encoder has no coefficient. In a config, add '
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
