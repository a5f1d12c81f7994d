"""Save and restore the state that differs between ranks."""
import zlib
from collections.abc import Iterator
from contextlib import suppress

import torch
from mmengine.dist import broadcast_object_list, gather_object, get_world_size
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from ...io.former_keys import current_keys
from ..distributed.unwrap import unwrap_model
from .rng_state import (
    RNGState,
    get_rng_state,
    restore_rng_state,
    rng_state_to_data,
)


def gather_rank_state(runner: Runner, states: RNGState | None = None
                      ) -> list[dict] | None:
    """RNG state, buffers and accumulated gradients of all ranks, for a checkpoint.

    All ranks call this. Buffers are kept where they differ from those of rank 0, which
    the checkpoint holds anyway: batch norm statistics, which every rank has of its own.

    Args:
        states: RNG state of this rank, if it is not the current one.

    Returns:
        One entry a rank on rank 0, None on the others.
    """
    return gather_object(dict(
        random=rng_state_to_data(states or get_rng_state()),
        gradients=_gradients(runner), buffers=_own_buffers(runner),
        modules=_module_state(runner),
        counts=[part._inner_count for part in _wrappers(runner)]))


def restore_rank_state(runner: Runner, saved: dict, states: RNGState) -> None:
    """Restore what :func:`gather_rank_state` saved of one rank; the RNG state last.

    Args:
        states: The RNG state in ``saved``.
    """
    if saved['gradients']:
        # mmengine has warned that they are lost.
        runner.logger.info('Gradients of an accumulation in progress are restored.')
    model = unwrap_model(runner.model)
    parameters = dict(model.named_parameters())
    for name, gradient in current_keys(saved['gradients'], model).items():
        if name in parameters:
            parameters[name].grad = gradient.to(parameters[name], copy=True)
    # mmengine counts an accumulation from the iteration, and in an OptimWrapperDict,
    # where it leaves that to the model, from 0.
    for part, count in zip(_wrappers(runner), saved.get('counts', ()), strict=False):
        part._inner_count = count
    buffers, kept = dict(_buffers(runner)), current_keys(saved['buffers'], model)
    for prefix in _averages(runner):
        kept = current_keys(kept, model, f'{prefix}module.')
    for name, value in kept.items():
        if name in buffers and buffers[name].shape == value.shape:
            buffers[name].copy_(value)
    if 'modules' in saved:  # Not in checkpoints of earlier versions.
        _restore_module_state(runner, saved['modules'])
    restore_rng_state(states)


def _module_state(runner: Runner) -> dict[str, object]:
    """What the modules of this rank keep outside parameters and buffers."""
    loop = runner.train_loop
    if loop.module_state is None:
        return dict(values={}, lost=[], hooks=[])
    values, lost = loop.module_state.changed()
    return dict(values=values, lost=lost, hooks=loop.hook_state.changed())


def _restore_module_state(runner: Runner, saved: dict) -> None:
    missing = runner.train_loop.module_state.restore(saved.get('values', {}))
    lost = [*saved.get('lost', ()), *missing]
    if lost:
        runner.logger.warning(
            'Resuming is not exact: training had changed attributes of the model that '
            f'are no plain data and could not be saved: {_shorten(lost)}. They start '
            'anew. Keep such state in buffers, numbers, lists or dicts.')
    if saved.get('hooks'):
        runner.logger.warning(
            f'Hooks of yours had changed {_shorten(saved["hooks"])}, which no '
            'checkpoint holds: they start anew. Save what counts in '
            'before_save_checkpoint, and restore it in after_load_checkpoint.')


def _shorten(names: list[str], most: int = 8) -> str:
    shown = [name if len(name) < 100 else f'{name[:97]}...' for name in names[:most]]
    return ', '.join(shown) + (f', ... ({len(names)})' if names[most:] else '')


def _gradients(runner: Runner) -> dict[str, Tensor]:
    """Accumulated gradients that no optimizer step has used yet, by name."""
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
    """Persistent buffers of the model and of its EMA models."""
    modules = {'': unwrap_model(runner.model), **_averages(runner)}
    for prefix, module in modules.items():
        saved = module.state_dict().keys()
        for name, buffer in module.named_buffers():
            if name in saved:
                yield prefix + name, buffer


def _averages(runner: Runner) -> dict[str, nn.Module]:
    """EMA models, by the prefix of their buffers."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    return {f'ema{k}:': hook.ema_model for k, hook in enumerate(hooks)
            if hasattr(hook, 'ema_model')}


def _checksum(buffer: Tensor) -> int:
    with suppress(TypeError):
        return zlib.crc32(buffer.contiguous().view(-1).view(torch.uint8).numpy())
    return zlib.crc32(buffer.float().contiguous().numpy())
