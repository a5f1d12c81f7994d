"""Apply photometric parameters to a batch of views, on any device."""
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
)
from . import ops
from .params import AugmentParams, Op

_FUNCTIONS = {
    Op.BRIGHTNESS: ops.brightness,
    Op.CONTRAST: ops.contrast,
    Op.SATURATION: ops.saturation,
    Op.HUE: ops.hue,
    Op.GRAYSCALE: ops.grayscale,
    Op.SOLARIZE: ops.solarize,
}


def augment(images: Tensor, params: AugmentParams) -> Tensor:
    """Augmented copies of (N, 3, H, W) uint8 images, on their device.

    A CPU processes one image after the other, which then stays in the cache: with
    kernels if numba is installed (``pip install numba``; the first batch
    compiles them, which takes some seconds), else with Pillow, which is about eight
    times slower.
    """
    if images.device.type == 'cpu':
        return augment_one_by_one(images, params, _augmenter())
    return augment_together(images, params)


@functools.cache
def _augmenter() -> Callable:
    try:
        from . import kernels
    except ImportError:     # numba is optional, or does not fit this numpy
        return augment_with_pillow
    return kernels.augment


def augment_one_by_one(
    images: Tensor, params: AugmentParams, augmenter: Callable
) -> Tensor:
    """:func:`augment` on a CPU, with as many threads as torch uses.

    Args:
        augmenter: ``augmenter(image, ops, values)`` changes one (3, H, W) uint8 array
            in place; ``ops`` and ``values`` are a row of ``params``.
    """
    out = images.clone(memory_format=torch.contiguous_format)
    jobs = out.numpy(), params.ops.tolist(), params.values.tolist()
    threads = min(torch.get_num_threads(), len(out))
    if threads < 2:
        list(map(augmenter, *jobs))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(augmenter, *jobs))
    return out


def augment_with_pillow(image: np.ndarray, ops: list[int], values: list[float]) -> None:
    """Change a (3, H, W) uint8 image in place, with Pillow, as the loader does.

    Args:
        ops, values: A row of :class:`AugmentParams`.
    """
    view = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    for op, value in zip(ops, values, strict=True):
        if op == Op.GRAYSCALE:
            view = ViewGrayscale.apply(view)
        elif op == Op.BLUR:
            view = ViewGaussianBlur.apply(view, value)
        elif op == Op.SOLARIZE:
            view = ViewSolarize.apply(view, int(value))
        elif op != Op.SKIP:
            view = ViewColorJitter.apply(view, [(Op(op).name.lower(), value)])
    image[...] = np.asarray(view).transpose(2, 0, 1)


def augment_together(images: Tensor, params: AugmentParams) -> Tensor:
    """:func:`augment` by tensor operations, for all images at once.

    Views with the same op at the same position are processed together. The groups are
    computed on the host, which never waits for the device.
    """
    out = images.clone(memory_format=torch.contiguous_format)
    for function, rows, values in _groups(params, images.device):
        all_of_them = len(rows) == len(out)
        views = out if all_of_them else out.index_select(0, rows)
        # uint8 between the ops, as in Pillow: the fraction is truncated.
        augmented = function(views.float(), values.view(-1, 1, 1, 1)).to(torch.uint8)
        out = augmented if all_of_them else out.index_copy_(0, rows, augmented)
    return out


def _groups(params: AugmentParams, device: torch.device
            ) -> Iterator[tuple[Callable, Tensor, Tensor]]:
    """(function, rows, values) of the views that an op applies to, in order."""
    kinds, rows = params.ops.T.sort(dim=1, stable=True)
    values = params.values.T.gather(1, rows)
    blurred = kinds == Op.BLUR
    reach = ceil(ops.box_radius(values[blurred].max())) if blurred.any() else 0
    functions = _FUNCTIONS | {Op.BLUR: partial(ops.blur, reach=reach)}
    table = _to_device(torch.stack([rows.float(), values]), device)
    for kind, *on_device in zip(kinds, table[0].long(), table[1], strict=True):
        ends = torch.bincount(kind, minlength=len(Op)).cumsum(0).tolist()
        for op, (start, end) in zip(list(Op)[1:], pairwise(ends), strict=True):
            if start < end:
                yield functions[op], *(column[start:end] for column in on_device)


def _to_device(table: Tensor, device: torch.device) -> Tensor:
    """One transfer, overlapping the computation: pinned memory on CUDA."""
    if device.type == 'cuda':
        table = table.pin_memory()
    return table.to(device, non_blocking=True)
