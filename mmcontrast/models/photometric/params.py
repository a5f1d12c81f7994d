"""What is done to each view of a batch: drawn apart from doing it."""
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Generator, Tensor

from ...datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
    ViewStep,
)


class Op(IntEnum):
    """One change of a view, and what its value means."""

    SKIP = 0
    BRIGHTNESS = 1      # factor
    CONTRAST = 2        # factor
    SATURATION = 3      # factor
    HUE = 4             # shift, in turns of the color wheel
    GRAYSCALE = 5
    BLUR = 6            # sigma in pixels
    SOLARIZE = 7        # first gray level that is inverted


@dataclass(frozen=True)
class AugmentParams:
    """The changes of N views, L each, in the order in which they happen.

    Applying draws nothing, so that a recorded choice can be repeated.

    Attributes:
        ops: (N, L) int64 on the CPU, members of :class:`Op`.
        values: (N, L) float32 on the CPU, what the ops need.
    """

    ops: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.ops)

    def __getitem__(self, rows: slice) -> 'AugmentParams':
        return AugmentParams(self.ops[rows], self.values[rows])

    @classmethod
    def join(cls, parts: list['AugmentParams'], n: int) -> 'AugmentParams':
        """The changes of ``parts`` one after the other, for ``n`` views."""
        nothing = cls(torch.empty(n, 0, dtype=torch.int64), torch.empty(n, 0))
        parts = [nothing, *parts]
        return cls(torch.cat([part.ops for part in parts], 1),
                   torch.cat([part.values for part in parts], 1))


def draw(step: ViewStep, n: int, generator: Generator | None = None) -> AugmentParams:
    """The choices of one step for ``n`` views, as ``ViewStep.draw`` makes them.

    As many numbers are drawn whatever they turn out to be, so that a view's choices
    depend on its row and the seed alone.

    Raises:
        TypeError: If the step has no batched form.
    """
    if type(step) not in _DRAWS:
        raise TypeError(
            f'{type(step).__name__} has no batched form, only '
            f'{sorted(cls.__name__ for cls in _DRAWS)} have. Use the strict pipeline '
            'for this recipe: TwoViews(views=...) in the loader, and no photometric '
            'in the preprocessor.')
    happens = torch.rand(n, 1, generator=generator) < step.prob
    choices = _DRAWS[type(step)](step, n, generator)
    return AugmentParams(torch.where(happens, choices.ops, Op.SKIP), choices.values)


def _draw_jitter(
    step: ViewColorJitter, n: int, generator: Generator | None
) -> AugmentParams:
    names = sorted(step.ranges)
    low, high = torch.tensor([step.ranges[name] for name in names]).unbind(1)
    values = low + (high - low) * torch.rand(n, len(names), generator=generator)
    order = torch.rand(n, len(names), generator=generator).argsort(1)
    ops = torch.tensor([Op[name.upper()] for name in names])
    return AugmentParams(ops[order], values.gather(1, order))


def _draw_blur(
    step: ViewGaussianBlur, n: int, generator: Generator | None
) -> AugmentParams:
    low, high = step.sigma
    values = low + (high - low) * torch.rand(n, 1, generator=generator)
    return _same(Op.BLUR, values)


def _same(op: Op, values: Tensor) -> AugmentParams:
    return AugmentParams(torch.full(values.shape, op, dtype=torch.int64), values)


_DRAWS = {
    ViewColorJitter: _draw_jitter,
    ViewGrayscale: lambda step, n, _: _same(Op.GRAYSCALE, torch.zeros(n, 1)),
    ViewGaussianBlur: _draw_blur,
    ViewSolarize: lambda step, n, _: _same(
        Op.SOLARIZE, torch.full((n, 1), float(step.threshold))),
}
