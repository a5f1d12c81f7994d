"""Draw and apply the photometric steps of a view for a whole batch."""
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ...datasets.transforms import ViewStep, view_steps
from .batch import augment
from .params import AugmentParams, draw_params


class BatchedSteps:
    """The photometric steps of ``TwoViews`` for one view, batched, on any device.

    Probabilities and ranges are those of the steps, parameters are drawn for each view,
    and the pixels are Pillow's: only the blur differs, by one gray level at some
    pixels.

    Args:
        steps: In the order in which they apply.

    Raises:
        TypeError: If a step has no batched form.
    """

    def __init__(self, steps: Sequence[ViewStep]) -> None:
        self.steps = list(steps)
        self.draw(0)    # an error now rather than in the first batch

    def draw(self, n: int, generator: Generator | None = None) -> AugmentParams:
        """Draw the parameters of ``n`` views.

        Args:
            n: Number of views.
            generator: Default: torch's global generator on the CPU.
        """
        return AugmentParams.join(
            [draw_params(step, n, generator) for step in self.steps], n)

    @staticmethod
    def apply(images: Tensor, params: AugmentParams) -> Tensor:
        """(N, 3, H, W) uint8 RGB views, augmented; ``images`` is not modified.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If ``params`` is for another number of views.
        """
        if images.dtype != torch.uint8:
            raise TypeError(
                'Photometric augmentation needs uint8 views, as PackViews makes them, '
                f'got {images.dtype}.')
        if len(images) != len(params):
            raise ValueError(
                f'params are for {len(params)} views, got {len(images)} views.')
        return augment(images, params)


def batched_recipe(views: str | Sequence[Sequence[dict]]) -> list[BatchedSteps]:
    """The steps of view 1 and of view 2, from a recipe's name or their configs."""
    return [BatchedSteps(steps) for steps in view_steps(views)]
