"""Find non-finite values in the state that a checkpoint keeps, and say so."""
from collections.abc import Collection, Iterator

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..distributed.unwrap import unwrap_model
from .tensors import describe, magnitude, nonfinite_names

_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
          torch.complex128)


def nonfinite_state(runner: Runner, expected: Collection[str] = ()) -> list[str]:
    """A line for each non-finite tensor of model, EMA and optimizer.

    One pass over the values and one wait for the device if all are finite.

    Args:
        expected: Names of buffers that are meant to be, such as a mask of -inf.
    """
    tensors = {name: tensor for name, tensor in _state(runner)
               if name.partition(_OF_EMA)[0] not in expected
               and tensor.dtype in _TYPES and not is_lazy(tensor)}
    if not tensors:
        return []
    device = next(iter(tensors.values())).device
    if torch.isfinite(magnitude(tensors.values(), device)):
        return []
    return [str(describe(tensors[name], name))
            for name in nonfinite_names(tensors.items())]


def nonfinite_buffers(model: nn.Module) -> set[str]:
    """Names of the buffers with non-finite values."""
    return set(nonfinite_names((name, buffer) for name, buffer in model.named_buffers()
                               if buffer.dtype in _TYPES))


def state_message(lines: list[str], step: int, finite_at: int | None,
                  ranks: list[int], occasion: str) -> str:
    """The message about non-finite values in the state of a run.

    Args:
        lines: From :func:`nonfinite_state`.
        step: Iterations trained.
        finite_at: Iterations after which all values were finite; None if never.
        ranks: Those with such values.
        occasion: When they were found, after "found".
    """
    name = lines[0].partition(' (')[0]
    more = f' and {len(lines) - 1} more' if len(lines) > 1 else ''
    where = f' on rank {", ".join(map(str, ranks))}' if get_world_size() > 1 else ''
    began = ('They came with the loaded weights or the initialization.'
             if finite_at is None else
             f'After iteration {finite_at} all values were finite, and since then '
             'losses and gradients are.')
    shown = [f'    {line}' for line in lines[:5]]
    return '\n'.join([
        f'Iteration {step}{where}: the state of the run is not finite: {name}{more}.',
        *shown, f'{began} Found {occasion}; checkpoints written before are kept.',
        'What helps: resume from an earlier checkpoint with a lower learning rate, a '
        'longer warm-up or clipped gradients; look for code that writes into the '
        'tensor named. A buffer that is meant to hold such values: '
        'register_buffer(..., persistent=False).'])


_OF_EMA = ' of the EMA'


def _state(runner: Runner) -> Iterator[tuple[str, Tensor]]:
    model = unwrap_model(runner.model)
    yield from _kept(model)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hasattr(hook, 'ema_model'):
            for name, tensor in _kept(hook.ema_model.module):
                yield f'{name}{_OF_EMA}', tensor
    names = {id(p): name for name, p in model.named_parameters()}
    wrapper = runner.optim_wrapper
    wrappers = (wrapper.values() if isinstance(wrapper, OptimWrapperDict) else
                [wrapper] if isinstance(wrapper, OptimWrapper) else [])
    for optimizer in (w.optimizer for w in wrappers):
        for parameter, state in optimizer.state.items():
            for key, value in state.items() if isinstance(state, dict) else ():
                if isinstance(value, Tensor):
                    name = names.get(id(parameter), 'a parameter')
                    yield f'{key} of {name} in the optimizer', value


def _kept(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and the buffers that a state dict has."""
    yield from model.named_parameters()
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f'{prefix}.{name}' if prefix else name, buffer
