"""The golden cases of TopNet.

    case = Case('oracle_fusion_net')
    net.load_state_dict(case.params())              # keys as in the case
    case.check(dict(logits=net(case.input('bg_tokens'), case.input('fg_token'))))

A whole output is given also where the case stores a slice and the statistics of it.
"""
import json
import re
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmcontrast.testing import fill, golden

FOLDER = Path(__file__).parents[1] / 'golden' / 'topnet'
SLICE = re.compile(r'slice \[(.*)\] of shape (\[.*\])')
# Case -> outputs whose tolerance it states in words.
IN_WORDS = {'ref_dataset_item': ('composites*', dict(atol=1 / 255)),
            'ref_train_step': ('grad*', dict(rtol=5e-3))}


def boxes(parts: Tensor) -> Tensor:
    """Uniform numbers -> boxes, as the placement metrics draw them."""
    return torch.cat([100 * parts[..., :2], 20 + 80 * parts[..., 2:]], -1)


# Note of an input -> what it says.
NOTES = {
    'float of (rand > 0.5)': lambda x: (x > 0.5).float(),
    'label = rand < 0.3': lambda x: x < 0.3,
    'pred = rand < 0.45': lambda x: x < 0.45,
    'use 0.3 + 1.3*randn': lambda x: 0.3 + 1.3 * x.double(),
    'box = [100*a, 100*b, 20+80*c, 20+80*d]': lambda x: boxes(x.double()),
    'same mapping': lambda x: boxes(x.double()),
}


class Case(golden.Case):
    """Notes of inputs are followed, slices and statistics of outputs compared."""

    def __init__(self, name: str) -> None:
        super().__init__(FOLDER, name)

    @property
    def config(self) -> dict:
        return self.meta['config']

    def input(self, name: str, **fields):
        made = super().input(name, **fields)
        note = self.meta['inputs'][name].get('note')
        return NOTES[note](made) if note else made

    def tolerance(self, name: str) -> golden.Tolerance:
        given = super().tolerance(name)
        pattern, stated = IN_WORDS.get(self.meta['case'], ('', {}))
        return replace(given, **stated) if fnmatch(name, pattern) else given

    def stored(self, name: str):
        want, part = super().stored(name)
        # Images may differ by a gray level where the case says so.
        if want.dtype == np.uint8 and self.tolerance(name).atol:
            return want.astype(np.float64), part
        return want, part

    def compare(self, name: str, value) -> str:
        got = value.detach().cpu() if isinstance(value, Tensor) else value
        got = np.asarray(got)
        sliced = SLICE.match(self.outputs[name].get('note', ''))
        if not sliced:
            return super().compare(name, got)
        shape = json.loads(sliced[2])
        if list(got.shape) != shape:
            return f'shape {list(got.shape)}, want {shape}'
        steps = tuple(slice(None, None, int(step.strip(':') or 1))
                      for step in sliced[1].split(', '))
        return (super().compare(name, got[steps])
                or super().compare(f'{name}.stats', statistics(got)))


def statistics(x: np.ndarray) -> np.ndarray:
    """Mean, std, max|.| and L2 norm in float64."""
    x = x.astype(np.float64)
    return np.array([x.mean(), x.std(), np.abs(x).max(), np.sqrt((x ** 2).sum())])


def uint8_image(name: str, size: tuple[int, int], channels: int = 3, smooth: int = 8
                ) -> np.ndarray:
    """Image of one color per square of ``smooth`` pixels; one channel drops the axis.
    """
    height, width = size
    squares = (-(-height // smooth), -(-width // smooth), channels)
    levels = torch.floor(256 * fill.rand(name, squares)).numpy().astype(np.uint8)
    image = levels.repeat(smooth, 0).repeat(smooth, 1)[:height, :width]
    return image[..., 0] if channels == 1 else image


def sparse_targets(points: Tensor, size: int, num_positive: int) -> Tensor:
    """(B, n, 2) points in [0, 1) -> (B, size, size) int64 map of 1, 0 and 255.

    The first ``num_positive`` points of each image are 1, the others 0; later ones
    overwrite.
    """
    targets = torch.full((len(points), size, size), 255)
    for image, places in enumerate(torch.floor(points * size).long()):
        for rank, (x, y) in enumerate(places.tolist()):
            targets[image, y, x] = int(rank < num_positive)
    return targets
