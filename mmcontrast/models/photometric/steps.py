"""The photometric steps of one view, for a whole batch at once."""
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ...datasets.transforms import ViewStep, view_steps
from .batch import augment
from .params import AugmentParams, draw


class BatchedSteps:
    """What ``TwoViews`` does to the colors of one view, for N views on any device.

    Probabilities and ranges are those of the steps, parameters are drawn for each
    view by itself, and the pixels are Pillow's: no more than single gray levels of
    the blur fall the other way.

    Args:
        steps: In the order in which they happen.

    Raises:
        TypeError: If a step has no batched form.
    """

    def __init__(self, steps: Sequence[ViewStep]) -> None:
        self.steps = list(steps)
        self.draw(0)    # an error now rather than in the first batch

    def draw(self, n: int, generator: Generator | None = None) -> AugmentParams:
        """Choices for ``n`` views, from torch's CPU generator or the one given."""
        return AugmentParams.join([draw(step, n, generator) for step in self.steps], n)

    @staticmethod
    def apply(images: Tensor, choices: AugmentParams) -> Tensor:
        """(N, 3, H, W) uint8 RGB views, changed as chosen; ``images`` stays as it is.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If there are not as many of them as choices.
        """
        if images.dtype != torch.uint8:
            raise TypeError(
                'Photometric work needs uint8 views, as PackViews makes them, got '
                f'{images.dtype}.')
        if len(images) != len(choices):
            raise ValueError(
                f'{len(choices)} choices do not fit {len(images)} views.')
        return augment(images, choices)


def batched_recipe(views: str | Sequence[Sequence[dict]]) -> list[BatchedSteps]:
    """The steps of view 1 and of view 2, from a recipe's name or their configs."""
    return [BatchedSteps(steps) for steps in view_steps(views)]
