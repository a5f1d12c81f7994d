"""Measure the unofficial TopNet: its last layers as one, its background once."""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timing.frame import Row, time_in_turns
from timing.memory import peak_memory
from torch import nn

from mmcontrast.registry import MODELS

SCALES = 16


@dataclass(frozen=True)
class PairSizes:
    """Side of the input in pixels, and the device."""

    size: int
    device: str


def pair_rows(sizes: PairSizes, turns: int) -> Iterator[Row]:
    """The last layers, and a search over sixteen sizes."""
    model = MODELS.build(dict(type='TopNetPair', size=sizes.size))
    model = model.to(sizes.device).eval()
    yield from head_rows(model.head, sizes, turns)
    yield from scale_rows(model, sizes, turns)


@torch.no_grad()
def head_rows(head: nn.Module, sizes: PairSizes, turns: int) -> Iterator[Row]:
    """Two convolutions one after the other, as released, and as one."""
    x = torch.randn(1, 64, sizes.size, sizes.size, device=sizes.device)
    both = {'two convolutions': lambda: head.classifier(head.deconv(x)),
            'one convolution': lambda: head(x)}
    difference = (both['two convolutions']() - both['one convolution']()).abs().max()
    yield Row('head: largest difference of logits', float(difference), '')
    found = time_in_turns(both, turns)
    yield Row('head: one convolution / two', found.ratios['one convolution'].values,
              'x', target='at most 0.1')
    peaks = {name: peak_memory(run, sizes.device) for name, run in both.items()}
    yield Row('head: peak memory, one convolution / two',
              peaks['one convolution'] / peaks['two convolutions'], 'x')


@torch.no_grad()
def scale_rows(model: nn.Module, sizes: PairSizes, turns: int) -> Iterator[Row]:
    """Sixteen sizes of an object: one network, its background trunk run once a size,
    or once for all."""
    background = torch.randn(1, 3, sizes.size, sizes.size, device=sizes.device)
    canvases = torch.randn(SCALES, 4, sizes.size, sizes.size, device=sizes.device)

    def anew() -> None:
        for canvas in canvases.split(1):
            model.heat(model.encode_backgrounds(background),
                       model.encode_objects(canvas))

    def shared() -> None:
        model.heat(model.encode_backgrounds(background),
                   model.encode_objects(canvases))
    found = time_in_turns(dict(anew=anew, shared=shared), turns)
    yield Row(f'{SCALES} sizes', found.times['shared'].median, 's')
    yield Row(f'{SCALES} sizes, background once / anew', found.ratios['shared'].values,
              'x')
