"""What differs from rank to rank and does not follow from the seed."""
import zlib
from collections.abc import Iterator
from contextlib import suppress

import torch
from mmengine.dist import broadcast_object_list, gather_object, get_world_size
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from ..distributed.unwrap import unwrap_model
from .rng_state import (
    RNGState,
    get_rng_state,
    restore_rng_state,
    rng_state_from_data,
    rng_state_to_data,
)


def gather_rank_state(runner: Runner, states: RNGState | None = None
               ) -> list[dict] | None:
    """Random states, buffers and unfinished gradients of all ranks, for a checkpoint.

    All ranks call this. Buffers count where they differ from those of rank 0, which are
    in the checkpoint already: the statistics of batch norm, which every rank gathers
    for itself.

    Args:
        states: Random states of this rank if they are not those of now.

    Returns:
        One entry a rank on rank 0, None on the others.
    """
    return gather_object(
        dict(
            random=rng_state_to_data(states or get_rng_state()),
            gradients=_gradients(runner),
            counts=[part._inner_count for part in _wrappers(runner)],
            buffers=_own_buffers(runner),
        )
    )


def restore_rank_state(runner: Runner, saved: dict,
                  states: RNGState | None = None) -> None:
    """Give this process what :func:`gather_rank_state` took; the random states last.

    Args:
        states: Those of ``saved``, if they have been read already.
    """
    if saved['gradients']:
        # mmengine has warned that they are lost.
        runner.logger.info('The gradients of an accumulation in progress are back.')
    parameters = dict(unwrap_model(runner.model).named_parameters())
    for name, gradient in saved['gradients'].items():
        if name in parameters:
            parameters[name].grad = gradient.to(parameters[name], copy=True)
    # mmengine counts an accumulation from the iteration, and in an OptimWrapperDict,
    # where it leaves that to the model, from 0.
    for part, count in zip(_wrappers(runner), saved.get('counts', ()), strict=False):
        part._inner_count = count
    buffers = dict(_buffers(runner))
    for name, value in saved['buffers'].items():
        if name in buffers and buffers[name].shape == value.shape:
            buffers[name].copy_(value)
    restore_rng_state(states or rng_state_from_data(saved['random']))


def _gradients(runner: Runner) -> dict[str, Tensor]:
    """Gradients that an accumulation has gathered and no step has used, by name."""
    wrappers = _wrappers(runner)
    # Of several, the loss of one may leave gradients for the step of another.
    if len(wrappers) == 1 and wrappers[0].should_update():
        return {}
    return {name: parameter.grad.detach().cpu()
            for name, parameter in unwrap_model(runner.model).named_parameters()
            if parameter.grad is not None}


def _wrappers(runner: Runner) -> list[OptimWrapper]:
    wrapper = runner.optim_wrapper
    return (list(wrapper.optim_wrappers.values())
            if isinstance(wrapper, OptimWrapperDict) else [wrapper])


def _own_buffers(runner: Runner) -> dict[str, Tensor]:
    if get_world_size() == 1:
        return {}
    mine = {name: buffer.detach().cpu() for name, buffer in _buffers(runner)}
    marks = {name: _checksum(buffer) for name, buffer in mine.items()}
    of_rank_0 = [marks]
    broadcast_object_list(of_rank_0)
    return {name: mine[name] for name, mark in marks.items()
            if of_rank_0[0].get(name) != mark}


def _buffers(runner: Runner) -> Iterator[tuple[str, Tensor]]:
    """Saved buffers of the model and of its averages."""
    modules: dict[str, nn.Module] = {'': unwrap_model(runner.model)}
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    modules |= {f'ema{k}:': hook.ema_model for k, hook in enumerate(averages)
                if hasattr(hook, 'ema_model')}
    for prefix, module in modules.items():
        saved = module.state_dict().keys()
        for name, buffer in module.named_buffers():
            if name in saved:
                yield prefix + name, buffer


def _checksum(buffer: Tensor) -> int:
    with suppress(TypeError):
        return zlib.crc32(buffer.contiguous().view(-1).view(torch.uint8).numpy())
    return zlib.crc32(buffer.float().contiguous().numpy())
