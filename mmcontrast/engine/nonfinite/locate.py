"""Describe where non-finite values began: weights, images, forward or backward pass."""
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from .forward_trace import Call, ForwardTrace
from .gradient_trace import GradientEvent, GradientTrace
from .tensors import TensorStats, describe, float_tensors, nonfinite_names


@dataclass(frozen=True)
class Origin:
    """Where non-finite values first appeared.

    Attributes:
        kind: 'weights', 'batch', 'forward' or 'backward'.
        name: Of the module, the weight, or the image.
        sentence: For the message.
        details: Lines below it.
        number: Which call of the module.
    """

    kind: str
    name: str
    sentence: str
    details: list[str] = field(default_factory=list)
    number: int = 0


def origin_in_weights(model: nn.Module, expected: Iterable[str] = ()) -> Origin | None:
    """Non-finite parameters and buffers, before anything was computed.

    Args:
        expected: Buffers that are meant to be, such as an attention mask of -inf.
    """
    expected = set(expected)
    tensors = {name: t for name, t in chain(
                   model.named_parameters(), model.named_buffers())
               if name not in expected and (t.is_floating_point() or t.is_complex())}
    bad = nonfinite_names(tensors.items())
    if not bad:
        return None
    more = f' and {len(bad) - 1} more' if len(bad) > 1 else ''
    return Origin('weights', bad[0],
                  f'the weights themselves, before the forward pass: {bad[0]}{more}',
                  [str(describe(tensors[name], name)) for name in bad[:5]])


def origin_in_batch(batch: object) -> Origin | None:
    """Non-finite input pixels, with the images they belong to."""
    inputs, samples = _parts(batch)
    bad = set(nonfinite_names(float_tensors(inputs, 'inputs')))
    tensors = {name: t for name, t in float_tensors(inputs, 'inputs') if name in bad}
    if not tensors:
        return None
    lines, names = [], []
    for label, tensor in tensors.items():
        for i in _nonfinite_rows(tensor, len(samples)):
            i = _index(label) if i is None else i
            names.append(image_name(samples[i]) if i < len(samples) else f'image {i}')
            lines.append(f'{names[-1]}: {describe(tensor, label)}')
    return Origin('batch', names[0], 'the images, as the data pipeline gave them: '
                  + ', '.join(dict.fromkeys(names)), lines)


def notes_on_annotations(batch: object) -> list[str]:
    """NaN in the data samples, which may be intended (no depth here) or the cause."""
    stats = [(image_name(sample), describe(tensor, label))
             for sample in _parts(batch)[1] for label, tensor in float_tensors(sample)]
    return [f'NaN in the annotations of {name}: {s}' for name, s in stats
            if s.nan]


def image_names(batch: object) -> list[str]:
    """Paths of the images of a batch, as far as its samples hold them."""
    return [image_name(sample) for sample in _parts(batch)[1]]


def image_name(sample: object) -> str:
    """The path of a sample's image, or what else identifies it."""
    if isinstance(sample, dict | BaseDataElement):
        for key in ('img_path', 'file_name', 'sample_idx', 'img_id'):
            if sample.get(key) is not None:
                return str(sample.get(key))
    return 'an image without a name'


def origin_of_forward(trace: ForwardTrace, model: nn.Module) -> Origin | None:
    """From a trace whose forward pass gave non-finite values."""
    onset = trace.first
    if onset is None:
        return None
    call = onset.call
    inside = any(other.parent is call for other in trace.calls)
    sentence = f'{call.title}, in its forward'
    if inside or onset.receiver:
        sentence += ', in its own code'
    if (inside or onset.receiver) and onset.previous and onset.previous is not call:
        sentence += f' after {onset.previous.title}'
    if onset.receiver:
        sentence += f'; {onset.receiver.title} got the values'
    outputs = onset.receiver.inputs if onset.receiver else call.outputs
    return Origin('forward', call.name, sentence, [
        *_lines('input', call.inputs), *_lines('output', outputs),
        *_weights(model, call.name)], call.number)


def origin_of_backward(trace: GradientTrace, model: nn.Module) -> Origin | None:
    """From a trace whose backward pass alone gave non-finite values."""
    event = trace.first_event
    if event is None:
        return None
    if event.kind == 'parameter':
        owner = event.name.rpartition('.')[0]
        return Origin('backward', event.name,
                      f'the gradient of the parameter {event.name}',
                      [f'gradient: {event.stats}', *_weights(model, owner)])
    readers = trace.readers(event)
    if readers:
        call = readers[0]
        others = ', or that of '.join(['', *(other.title for other in readers[1:])])
        return Origin('backward', call.name,
                      f'{call.title}, in its backward{others}', [
                          *_gradients(call), *_lines('input', call.inputs),
                          *_lines('output', call.outputs), *_weights(model, call.name)],
                      call.number)
    return _between(trace, event, model)


def _between(trace: GradientTrace, event: GradientEvent, model: nn.Module) -> Origin:
    """The own code of a module gave it, computing with the output of a child."""
    producer = trace.producer(event) or event.call
    owner = producer.parent or producer
    return Origin('backward', owner.name,
                  f'{owner.title}, in the backward of its own code on what '
                  f'{producer.title} gave',
                  [f'gradient of that: {event.stats}',
                   *_lines(f'{producer.name} gave', producer.outputs)], owner.number)


def _gradients(call: Call) -> list[str]:
    return [f'gradient of its {kind}: {stats}' for kind, stats in call.gradients]


def _lines(what: str, stats: list[TensorStats], most: int = 4) -> list[str]:
    # Non-finite ones first.
    stats = sorted(stats, key=lambda s: s.is_finite)
    more = [f'... {len(stats) - most} more'] if len(stats) > most else []
    return [f'{what}: {s}' for s in stats[:most]] + more


def _weights(model: nn.Module, name: str) -> list[str]:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return []
    own = chain(module.named_parameters(recurse=False),
                module.named_buffers(recurse=False))
    return [f'weight: {describe(t, key)}' for key, t in own
            if t.is_floating_point() and t.numel()]


def _parts(batch: object) -> tuple[object, list]:
    """Images and samples of a batch, a dict as mmengine's models take it."""
    if not isinstance(batch, dict):
        return batch, []
    samples = batch.get('data_samples')
    samples = list(samples) if isinstance(samples, list | tuple) else []
    return batch.get('inputs', batch), samples


def _nonfinite_rows(tensor: Tensor, num_samples: int) -> list:
    """Which images of a batched tensor; [None] if the tensor is one image."""
    if tensor.ndim < 1 or len(tensor) != num_samples or tensor.ndim == 3:
        return [None]
    fine = torch.isfinite(tensor).flatten(1).all(1) if tensor.ndim > 1 else (
        torch.isfinite(tensor))
    return (~fine).nonzero().flatten().tolist()


def _index(label: str) -> int:
    """3 of 'inputs[3]'."""
    digits = label.rpartition('[')[2].rstrip(']')
    return int(digits) if digits.isdigit() else 0
