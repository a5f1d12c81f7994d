"""Draw the photometric parameters of a batch of views."""
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
    """A photometric operation; the comments say what its value means."""

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
    """The operations on N views, L each, in the order in which they apply.

    Applying them draws nothing, so recorded parameters can be repeated.

    Attributes:
        ops: (N, L) int64 on the CPU, members of :class:`Op`.
        values: (N, L) float32 on the CPU, the parameter of each op.
    """

    ops: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.ops)

    def __getitem__(self, rows: slice) -> 'AugmentParams':
        return AugmentParams(self.ops[rows], self.values[rows])

    @classmethod
    def join(cls, parts: list['AugmentParams'], n: int) -> 'AugmentParams':
        """The operations of ``parts`` one after the other, for ``n`` views."""
        empty = cls(torch.empty(n, 0, dtype=torch.int64), torch.empty(n, 0))
        parts = [empty, *parts]
        return cls(torch.cat([part.ops for part in parts], 1),
                   torch.cat([part.values for part in parts], 1))


def draw_params(step: ViewStep, n: int, generator: Generator | None = None
                ) -> AugmentParams:
    """The parameters of one step for ``n`` views, distributed as in ``ViewStep.draw``.

    The number of random numbers does not depend on their values, so the parameters of
    a view depend on its row and the seed alone.

    Raises:
        TypeError: If the step has no batched form.
    """
    if type(step) not in _DRAWS:
        raise TypeError(
            f'{type(step).__name__} has no batched form, only '
            f'{sorted(cls.__name__ for cls in _DRAWS)} have. Use the strict pipeline '
            'for this recipe: TwoViews(views=...) in the loader, and no photometric '
            'in the preprocessor.')
    applies = torch.rand(n, 1, generator=generator) < step.prob
    params = _DRAWS[type(step)](step, n, generator)
    return AugmentParams(torch.where(applies, params.ops, Op.SKIP), params.values)


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
