"""Place objects of the toy world without looking at the scene: baselines."""
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ...datasets.shapes import plan_placement, scene_seed
from .sample import boxes_of_corners

#: Baselines of one box; the others draw several.
SINGLE = ('center', 'mean')


def baseline_boxes(prior: Tensor, aspect_wh: Sequence[float], num: int,
                   rng: np.random.Generator) -> dict[str, Tensor]:
    """Boxes that do not look at the scene, as shares of the image side.

    Args:
        prior: (3,) ratio max(w, h), x and y of the center.
        aspect_wh: Width and height of the cut-out; only the aspect ratio counts.
        num: Boxes of each random baseline.
        rng: Draws them.

    Returns:
        Name -> (num, 4) or (1, 4) float64 boxes.
    """
    unit = torch.tensor(aspect_wh, dtype=torch.float64) / max(aspect_wh)
    drawn = torch.from_numpy(rng.random((num, 5)))
    ratio, center = prior[:1, None], prior[None, 1:]

    def boxes(ratios: Tensor, centers: Tensor) -> Tensor:
        return torch.cat([centers - ratios * unit / 2, ratios * unit], 1)

    def inside(ratios: Tensor, shares: Tensor) -> Tensor:
        return boxes(ratios, ratios * unit / 2 + shares * (1 - ratios * unit))

    return dict(
        random=inside(drawn[:, :1], drawn[:, 1:3]),
        random_position=inside(ratio.expand(num, 1), drawn[:, 3:]),
        center=boxes(ratio, torch.full_like(center, 0.5)), mean=boxes(ratio, center))


@cache
def training_prior(num_scenes: int, options: tuple = ()) -> Tensor:
    """Mean ratio max(w, h) and center of the positives of training scenes.

    Args:
        num_scenes: The first scenes of the split 'train'.
        options: Pairs of name and value for ``plan_placement``.

    Returns:
        (3,) float64: ratio, x and y, as shares of the image side.
    """
    boxes = boxes_of_corners([
        box for index in range(num_scenes) for box in plan_placement(
            scene_seed('train', index), **dict(options)).positives])
    return torch.cat([boxes[:, 2:].amax(1, keepdim=True),
                      boxes[:, :2] + boxes[:, 2:] / 2], 1).mean(0)
