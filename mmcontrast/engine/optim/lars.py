"""Optimize with LARS as PixPro and SlotCon do."""
import functools
from collections.abc import Callable, Iterable
from types import ModuleType

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD with momentum whose gradient is rescaled layer by layer.

    For a weight ``w`` with gradient ``g`` in a group with ``adapt=True``::

        g' = g + weight_decay * w
        g' = g' * trust_coef * |w| / (|g'| + eps)      if |w| > 0 and |g'| > 0
        b  = momentum * b + g'
        w  = w - lr * b

    The learning rate multiplies after the momentum buffer, so that a change acts on
    the whole buffer (mmpretrain's LARS keeps it inside, and divides by
    ``|g| + weight_decay * |w|``: another optimizer).

    Source: "Large Batch Training of Convolutional Networks" (You et al., 2017), in the
    form of the released PixPro (``eps=1e-8``) and SlotCon (``eps=0``) code. Groups are
    made by :class:`~.param_groups.TwoGroupConstructor`: tensors of one
    dimension get neither decay nor rescaling.

    A step allocates no tensor of the size of a weight. On CPU one compiled kernel
    updates each weight where numba is installed (``pip install numba``), a
    few tensor operations elsewhere. On other devices multi-tensor kernels run without
    synchronizing with the host, and overwrite the gradients with ``g'``.

    Args:
        params: Parameters or groups; a group may set ``adapt``.
        lr: Learning rate.
        momentum: Factor of the momentum buffer.
        weight_decay: Factor of the weight added to its gradient.
        trust_coef: Factor of the layer-wise rate.
        eps: Added to the gradient norm.
        adapt: Whether gradients are rescaled, where a group does not say it.
    """

    def __init__(self, params: Iterable, lr: float, momentum: float = 0.9,
                 weight_decay: float = 0.0, trust_coef: float = 1e-3,
                 eps: float = 1e-8, adapt: bool = True):
        for name, value in dict(lr=lr, momentum=momentum, weight_decay=weight_decay,
                                trust_coef=trust_coef, eps=eps).items():
            if value < 0:
                raise ValueError(f'LARS: {name} must not be negative, got {value}.')
        super().__init__(params, dict(
            lr=lr, momentum=momentum, weight_decay=weight_decay,
            trust_coef=trust_coef, eps=eps, adapt=adapt))

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            grads = [p.grad for p in params]
            buffers = [self._buffer(p) for p in params]
            if not params:
                continue
            if not group['adapt']:
                _plain_step(params, grads, buffers, group)
            elif all(p.device.type == 'cpu' for p in params):
                _cpu_step(params, grads, buffers, group, _kernel())
            else:
                _multi_tensor_step(params, grads, buffers, group)
        return loss

    def _buffer(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if 'momentum_buffer' not in state:
            # b = g' in the first step is the same as starting from zeros.
            state['momentum_buffer'] = torch.zeros_like(param)
        return state['momentum_buffer']


def _plain_step(params: list, grads: list, buffers: list, group: dict):
    torch._foreach_mul_(buffers, group['momentum'])
    torch._foreach_add_(buffers, grads)
    if group['weight_decay']:
        torch._foreach_add_(buffers, params, alpha=group['weight_decay'])
    torch._foreach_add_(params, buffers, alpha=-group['lr'])


@functools.cache
def _kernel() -> ModuleType | None:
    try:
        from . import lars_kernel
    except ImportError:     # numba is optional, or does not fit this numpy
        return None
    return lars_kernel


def _cpu_step(params: list, grads: list, buffers: list, group: dict,
              kernel: ModuleType | None):
    for param, grad, buffer in zip(params, grads, buffers, strict=True):
        if kernel and kernel.takes(param, grad, buffer):
            kernel.step(param, grad, buffer, group)
            continue
        ratio = trust_ratio(param, grad, group)
        buffer.mul_(group['momentum']).add_(grad, alpha=ratio)
        buffer.add_(param, alpha=ratio * group['weight_decay'])
        param.add_(buffer, alpha=-group['lr'])


def trust_ratio(param: Tensor, grad: Tensor, group: dict) -> float:
    """``trust_coef * |w| / (|g + weight_decay * w| + eps)``, 1 where a norm is 0.

    ``|g + d w|^2 = |g|^2 + 2 d g.w + d^2 |w|^2`` needs no temporary; where the sum
    cancels (g close to -d w) it is computed the long way.
    """
    decay = group['weight_decay']
    w, g = param.reshape(-1), grad.reshape(-1)
    w_norm = torch.linalg.vector_norm(w).item()
    if decay:
        terms = torch.linalg.vector_norm(g).item() ** 2 + (decay * w_norm) ** 2
        square = terms + 2 * decay * torch.dot(g, w).item()
        g_norm = square ** 0.5 if square > 1e-2 * terms else (
            torch.linalg.vector_norm(g + decay * w).item())
    else:
        g_norm = torch.linalg.vector_norm(g).item()
    if not (w_norm > 0 and g_norm > 0):
        return 1.0
    return group['trust_coef'] * w_norm / (g_norm + group['eps'])


def _multi_tensor_step(params: list, grads: list, buffers: list, group: dict):
    if group['weight_decay']:
        torch._foreach_add_(grads, params, alpha=group['weight_decay'])
    w_norm = torch.stack(torch._foreach_norm(params))
    g_norm = torch.stack(torch._foreach_norm(grads))
    ratio = torch.where((w_norm > 0) & (g_norm > 0),
                        group['trust_coef'] * w_norm / (g_norm + group['eps']),
                        torch.ones_like(w_norm))
    torch._foreach_mul_(grads, list(ratio.unbind()))
    torch._foreach_mul_(buffers, group['momentum'])
    torch._foreach_add_(buffers, grads)
    torch._foreach_add_(params, buffers, alpha=-group['lr'])
