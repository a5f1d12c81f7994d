"""Run a saved batch again and report where its values become non-finite."""
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import nn

from ...engine.nonfinite.forward_trace import Call
from ...engine.nonfinite.locate import (
    Origin,
    notes_on_annotations,
    origin_in_batch,
    origin_in_weights,
)
from ...engine.nonfinite.message import losses_text, origin_lines
from ...engine.nonfinite.record import Record, bit_equal, read_record, restore_state
from ...engine.nonfinite.rerun import RerunResult, rerun_step
from ...io.config_text import parse_config_text
from ...io.registered_types import outside_registries
from ...registry import UnknownTypeError, default_scope
from ..config import UsageError, load_config


@dataclass
class Replay:
    """A saved batch, run again.

    Attributes:
        record: The saved batch and state.
        result: What this pass showed.
        origin: Where non-finite values began; None if all are finite.
        same_losses: Whether every loss equals that of the training run bit by bit.
    """

    record: Record
    result: RerunResult
    origin: Origin | None
    same_losses: bool

    def text(self, rows: int = 6, gradients: bool = True) -> str:
        """The report: losses, the origin, and tables of the modules around it.

        Args:
            rows: Modules to show before and after the origin; 0 shows all.
            gradients: Whether to show the table of gradients.
        """
        parts = [_losses(self), _origin(self), _table(
            'Forward, modules in the order in which they were called:',
            self.result.calls, self.origin, rows, _forward_lines)]
        if gradients and self.result.backward_done:
            parts.append(_table(
                'Gradients, modules in the order in which they reached them:',
                _by_gradient(self.result.calls), self.origin, rows, _gradient_lines))
        return '\n\n'.join(part for part in parts if part)


def replay(folder: str | Path, config: str | None = None, device: str | None = None,
           fp32: bool = False, grad: bool = True, imports: Sequence[str] = (),
           model: nn.Module | None = None) -> Replay:
    """Rerun a batch that :class:`NonFiniteGuardHook` saved, tracing every module.

    The model is built from the saved config, which is parsed and not executed, and gets
    the saved weights, buffers and RNG state.

    Args:
        folder: ``WORK_DIR/nonfinite/iter_N``.
        config: Take the model from this config file instead, e.g. with a fix.
        device: ``cpu``, ``cuda``, ``cuda:1``; default: a GPU, if any. Results can only
            equal those of the training bit by bit on the same kind of device.
        fp32: Without the mixed precision of the training.
        grad: Also run the backward pass, where the loss is finite.
        imports: Modules of your own that register what the config names. Those that
            the saved config names are not imported by themselves.
        model: A model already built; then no config is used.

    Raises:
        FileNotFoundError: If the folder is no saved batch.
        UsageError: If the model cannot be built from the config; says what to do.
        ValueError: If the weights do not fit the model, or a file is no data.
    """
    record = read_record(folder)
    for name in imports:
        import_module(name)
    model = model or _build(record, config)
    model = revert_sync_batchnorm(model).to(device or get_device())
    restore_state(record.state, model)
    _set_iteration(record.state['info'])
    weights = origin_in_weights(model, record.state['always_nonfinite'])
    result = rerun_step(
        model, record.batch, loss_scale=None if fp32 else _scale(record),
        context=nullcontext if fp32 else _context(record, model),
        wrappers=record.state['wrappers'], backward=grad,
        momentum_updated=record.state['momentum_updated'])
    origin = weights or origin_in_batch(record.batch) or result.origin
    return Replay(record, result, origin, _same_losses(record, result))


def _build(record: Record, config: str | None) -> nn.Module:
    """The model of a config file, or of the saved text."""
    if config:
        cfg = load_config(config)
    else:
        settings = parse_config_text(record.config_text, class_names=True)
        cfg = Config(settings)
        if 'model' not in cfg:
            raise UsageError(
                f'{record.folder}/config.py names no model: that Runner was not '
                'built from a config. Name one: --config.')
        left_out = outside_registries(settings)
        if left_out:
            raise UsageError(
                f'{record.folder}/config.py names {left_out}, which would be imported '
                'from outside the registries. If you trust it, give the config of the '
                'run yourself: --config.')
    try:
        with default_scope(cfg, 'mmengine'):
            return MODELS.build(cfg.model)
    except (UnknownTypeError, KeyError) as error:
        wanted = (cfg.get('custom_imports') or {}).get('imports') or []
        wanted = [wanted] if isinstance(wanted, str) else wanted
        options = ' '.join(f'--import {name}' for name in wanted)
        hint = (f'The run imported modules; if you trust them, add {options}'
                if wanted and not config else 'Does it need --import my_module?')
        raise UsageError(f'The model cannot be built: {error} {hint}') from error


def _set_iteration(info: dict) -> None:
    """Set the iteration in the message hub, where some models read it."""
    hub = MessageHub.get_current_instance()
    for key in ('iter', 'max_iters', 'max_epochs'):
        hub.update_info(key, info[key])
    hub.update_info('epoch', info['epoch'] - 1)


def _scale(record: Record) -> float | None:
    return record.state['info']['loss_scale']


def _context(record: Record, model: nn.Module):
    saved = record.state['autocast']
    if saved is None:
        return nullcontext
    dtype = saved['dtype'] and getattr(torch, saved['dtype'])
    return partial(torch.autocast, next(model.parameters()).device.type, dtype=dtype)


def _same_losses(record: Record, result: RerunResult) -> bool:
    before = record.state['losses']
    return set(before) <= set(result.losses) and all(
        bit_equal(value, result.losses[name]) for name, value in before.items())


def _losses(found: Replay) -> str:
    info, state = found.record.state['info'], found.record.state
    lines = [f'Iteration {info["iteration"]} of epoch {info["epoch"]}, trained on '
             f'{info["device"]} with torch {info["torch"]}.',
             f'Losses in training: {losses_text(state["losses"])}',
             f'Losses now:         {losses_text(found.result.losses)} '
             + ('(the same bits)' if found.same_losses else '(NOT the same bits)')]
    if found.result.error:
        lines.append(f'The pass raised {found.result.error}')
    if info['world_size'] > 1:
        lines.append(f'One of {info["world_size"]} ranks; what the ranks exchange in '
                     'their forward passes is missing here.')
    lines += [f'Not saved of the batch: {missing}' for missing in found.record.missing]
    lines += notes_on_annotations(found.record.batch)
    return '\n'.join(lines)


def _origin(found: Replay) -> str:
    if found.origin is None:
        return ('All values are finite this time.' if found.result.backward_done else
                'All values of the forward pass are finite; gradients were not '
                'computed.')
    lines = origin_lines(found.origin)
    if found.result.parameters:
        lines.append(f'Non-finite gradients, {len(found.result.parameters)}: '
                     f'{", ".join(found.result.parameters[:6])}')
    return '\n'.join(lines)


def _table(title: str, calls: list[Call], origin: Origin | None, rows: int, lines
           ) -> str:
    """Modules around the origin, which has an arrow."""
    here = next((i for i, call in enumerate(calls) if origin and (
        call.name, call.number) == (origin.name, origin.number)), None)
    if here is None:
        here = next((i for i, call in enumerate(calls) if '!' in ''.join(lines(call))),
                    0)
    first, last = (max(0, here - rows), here + rows + 1) if rows else (0, len(calls))
    out = [title]
    if first:
        out.append(f'    ... {first} before')
    for i, call in enumerate(calls[first:last], first):
        arrow = '--> ' if origin and i == here else '    '
        out.append(f'{arrow}{call.title}')
        out += [f'        {line}' for line in lines(call)]
    if last < len(calls):
        out.append(f'    ... {len(calls) - last} after')
    return '\n'.join(out) if calls else ''


def _forward_lines(call: Call) -> list[str]:
    return [f'{_mark(f)} {kind:6} {f}' for kind, stats in (
        ('input', call.inputs), ('output', call.outputs)) for f in stats[:6]]


def _gradient_lines(call: Call) -> list[str]:
    return [f'{_mark(f)} of {kind:6} {f}' for kind, f in call.gradients[:6]]


def _mark(stats) -> str:
    """'!' beside values that are not finite."""
    return ' ' if stats.is_finite else '!'


def _by_gradient(calls: list[Call]) -> list[Call]:
    """Those that a gradient reached; the backward pass goes from last to first."""
    return [call for call in reversed(calls) if call.gradients]
