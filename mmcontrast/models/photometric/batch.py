"""Applies choices to a batch, on any device."""
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from . import ops, pillow
from .params import AugmentParams, Op

_FUNCTIONS = {
    Op.BRIGHTNESS: ops.brightness,
    Op.CONTRAST: ops.contrast,
    Op.SATURATION: ops.saturation,
    Op.HUE: ops.hue,
    Op.GRAYSCALE: ops.grayscale,
    Op.SOLARIZE: ops.solarize,
}


def augment(images: Tensor, choices: AugmentParams) -> Tensor:
    """Changed copies of (N, 3, H, W) uint8 images, on their device.

    A CPU takes one image after the other, which stays in the cache from the first
    change to the last: by kernels where numba is installed (``pip install
    'mmcontrast[cpu]'``; the first batch compiles them, which takes some seconds), else
    by Pillow, which takes about eight times as long.
    """
    if images.device.type == 'cpu':
        return augment_one_by_one(images, choices, _augmenter())
    return augment_together(images, choices)


@functools.cache
def _augmenter() -> Callable:
    try:
        from . import kernels
    except ImportError:     # numba is optional, or does not fit this numpy
        return pillow.augment
    return kernels.augment


def augment_one_by_one(
    images: Tensor, choices: AugmentParams, augmenter: Callable
) -> Tensor:
    """What :func:`change` does, on as many threads as torch uses.

    Args:
        changer: ``changer(image, ops, values)`` changes one (3, H, W) array in place.
    """
    out = images.clone(memory_format=torch.contiguous_format)
    jobs = out.numpy(), choices.ops.tolist(), choices.values.tolist()
    threads = min(torch.get_num_threads(), len(out))
    if threads < 2:
        list(map(augmenter, *jobs))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(augmenter, *jobs))
    return out


def augment_together(images: Tensor, choices: AugmentParams) -> Tensor:
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


def _groups(choices: AugmentParams, device: torch.device
            ) -> Iterator[tuple[Callable, Tensor, Tensor]]:
    """(function, rows, values) of the views that an op changes, place by place."""
    kinds, rows = choices.ops.T.sort(dim=1, stable=True)
    values = choices.values.T.gather(1, rows)
    blurred = kinds == Op.BLUR
    reach = ceil(ops.box_radius(values[blurred].max())) if blurred.any() else 0
    functions = _FUNCTIONS | {Op.BLUR: partial(ops.blur, reach=reach)}
    table = _to_device(torch.stack([rows.float(), values]), device)
    for place, *on_device in zip(kinds, table[0].long(), table[1], strict=True):
        ends = torch.bincount(place, minlength=len(Op)).cumsum(0).tolist()
        for op, (start, end) in zip(list(Op)[1:], pairwise(ends), strict=True):
            if start < end:
                yield functions[op], *(column[start:end] for column in on_device)


def _to_device(table: Tensor, device: torch.device) -> Tensor:
    """One transfer, beside the computation: pinned memory on CUDA."""
    if device.type == 'cuda':
        table = table.pin_memory()
    return table.to(device, non_blocking=True)
