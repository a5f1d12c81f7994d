"""Applies choices to a batch with tensor operations, on any device."""
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from . import ops
from .choices import Choices, Op

_FUNCTIONS = {
    Op.BRIGHTNESS: ops.brightness,
    Op.CONTRAST: ops.contrast,
    Op.SATURATION: ops.saturation,
    Op.HUE: ops.hue,
    Op.GRAYSCALE: ops.grayscale,
    Op.SOLARIZE: ops.solarize,
}


def change(images: Tensor, choices: Choices) -> Tensor:
    """Changed copies of (N, 3, H, W) uint8 images, on their device.

    On a CPU each image goes through all its changes while it lies in the cache, on
    other devices the whole batch together.
    """
    if images.device.type != 'cpu' or not len(images):
        return change_together(images, choices)
    return torch.cat([change_together(images[k:k + 1], choices[k:k + 1])
                      for k in range(len(images))])


def change_together(images: Tensor, choices: Choices) -> Tensor:
    """What :func:`change` does, for all images at a time.

    The views that have the same op in the same place of their order go through it
    together. Who they are is known to the host, which never waits for the device.
    """
    out = images.clone(memory_format=torch.contiguous_format)
    for function, rows, values in _groups(choices, images.device):
        everybody = len(rows) == len(out)
        views = out if everybody else out.index_select(0, rows)
        # uint8 between the ops, as in Pillow: the fraction is cut off.
        changed = function(views.float(), values.view(-1, 1, 1, 1)).to(torch.uint8)
        out = changed if everybody else out.index_copy_(0, rows, changed)
    return out


def _groups(choices: Choices, device: torch.device
            ) -> Iterator[tuple[Callable, Tensor, Tensor]]:
    """(function, rows, values) of the views that an op changes, place by place."""
    kinds, rows = choices.ops.sort(dim=0, stable=True)
    values = choices.values.gather(0, rows)
    blurred = kinds == Op.BLUR
    values = torch.where(blurred, ops.box_radius(values), values)
    functions = _FUNCTIONS | {Op.BLUR: partial(
        ops.blur, reach=ceil(values[blurred].max()) if blurred.any() else 0)}
    on_device = _to_device(torch.stack([rows.float(), values]), device)
    rows, values = on_device[0].long(), on_device[1]
    for place, column in enumerate(kinds.T):
        ends = torch.bincount(column, minlength=len(Op)).cumsum(0).tolist()
        for op, (start, end) in zip(list(Op)[1:], pairwise(ends), strict=True):
            if start < end:
                yield functions[op], rows[start:end, place], values[start:end, place]


def _to_device(table: Tensor, device: torch.device) -> Tensor:
    """One transfer, beside the computation: pinned memory on CUDA."""
    if device.type == 'cuda':
        table = table.pin_memory()
    return table.to(device, non_blocking=True)
