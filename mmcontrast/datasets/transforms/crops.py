"""Sample crops: single ones, and pairs for two views."""
import math
import random
from collections.abc import Callable
from typing import NamedTuple

from ...registry import TRANSFORMS


class Crop(NamedTuple):
    """A crop in whole source pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), right and bottom exclusive."""
        return (self.left, self.top, self.left + self.width, self.top + self.height)

    def shared_area(self, other: 'Crop') -> int:
        """Area of the intersection, in source pixels."""
        left, top, right, bottom = self.box
        width = min(right, other.left + other.width) - max(left, other.left)
        height = min(bottom, other.top + other.height) - max(top, other.top)
        return max(width, 0) * max(height, 0)


class RandomResizedCrops:
    """Sample crops of random area and aspect ratio.

    Source: PixPro (CVPR 2021) and SlotCon (NeurIPS 2022): up to ``attempts`` times an
    area share, uniform in ``scale``, and an aspect ratio, uniform in its logarithm; the
    first crop that fits is placed uniformly. Numbers are drawn in the order share, log
    ratio, top, left.

    Args:
        scale: Range of the area of the crop, as a share of the image.
        ratio: Range of width / height.
        attempts: Tries before the fallback, the centered crop.
    """

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3),
                 attempts: int = 10) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'scale must be 0 < low <= high <= 1, got {scale}.')
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'ratio must be 0 < low <= high, got {ratio}.')
        self.scale, self.ratio, self.attempts = tuple(scale), tuple(ratio), attempts

    def __call__(self, width: int, height: int, rng: random.Random = random) -> Crop:
        """One crop of a ``width`` x ``height`` image."""
        return self.attempt(width, height, rng) or self.centered(width, height)

    def attempt(self, width: int, height: int, rng: random.Random = random,
                accept: Callable[[Crop, float], bool] | None = None) -> Crop | None:
        """One crop, or None if no attempt fits.

        Args:
            rng: Source of ``uniform(a, b)`` and ``randint(a, b)``, both ends included.
            accept: Further condition on the crop and its drawn area share; a rejected
                attempt counts like one that does not fit.
        """
        log_ratio = [math.log(r) for r in self.ratio]
        for _ in range(self.attempts):
            share = rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*log_ratio))
            area = share * width * height
            crop_w = round(math.sqrt(area * ratio))
            crop_h = round(math.sqrt(area / ratio))
            if not (0 < crop_w <= width and 0 < crop_h <= height):
                continue
            top = rng.randint(0, height - crop_h)
            crop = Crop(rng.randint(0, width - crop_w), top, crop_w, crop_h)
            if accept is None or accept(crop, share):
                return crop
        return None

    def centered(self, width: int, height: int) -> Crop:
        """The largest crop in the middle whose ratio lies in the range."""
        crop_w, crop_h = width, height
        if width / height < self.ratio[0]:
            crop_h = max(round(width / self.ratio[0]), 1)
        elif width / height > self.ratio[1]:
            crop_w = max(round(height * self.ratio[1]), 1)
        return Crop((width - crop_w) // 2, (height - crop_h) // 2, crop_w, crop_h)


@TRANSFORMS.register_module()
class IndependentCrops:
    """Two independent crops, as in PixPro.

    A crop pair is any callable with this signature; it gets the sampler of single
    crops and the image size.
    """

    def __call__(self, crops: RandomResizedCrops, width: int, height: int,
                 rng: random.Random = random) -> tuple[Crop, Crop]:
        return crops(width, height, rng), crops(width, height, rng)


@TRANSFORMS.register_module()
class OverlapCrops:
    """Two crops that overlap.

    Source: SlotCon (NeurIPS 2022), released code. An attempt at the second crop is
    rejected if the overlap is too small; if all attempts fail, the second crop is drawn
    again without the condition, so that disjoint crops remain possible, if rare.

    Args:
        min_overlap: Least area of the intersection, as a share of the area drawn for
            the second crop (before its sides are rounded to pixels).
    """

    def __init__(self, min_overlap: float = 0.01) -> None:
        if not 0 <= min_overlap <= 1:
            raise ValueError(f'min_overlap must be in [0, 1], got {min_overlap}.')
        self.min_overlap = min_overlap

    def __call__(self, crops: RandomResizedCrops, width: int, height: int,
                 rng: random.Random = random) -> tuple[Crop, Crop]:
        first = crops(width, height, rng)

        def overlaps_first(crop: Crop, share: float) -> bool:
            least = self.min_overlap * share * width * height
            return first.shared_area(crop) >= least

        second = crops.attempt(width, height, rng, accept=overlaps_first)
        return first, second or crops(width, height, rng)


@TRANSFORMS.register_module()
class CenterCrops:
    """Twice the centered square, for deterministic views.

    Args:
        share: Side of the square over the short side of the image; the default is
            the crop of 224 from an image resized to 256.
    """

    def __init__(self, share: float = 224 / 256) -> None:
        if not 0 < share <= 1:
            raise ValueError(f'share must be in (0, 1], got {share}.')
        self.share = share

    def __call__(self, crops: RandomResizedCrops, width: int, height: int,
                 rng: random.Random = random) -> tuple[Crop, Crop]:
        side = max(round(self.share * min(width, height)), 1)
        crop = Crop((width - side) // 2, (height - side) // 2, side, side)
        return crop, crop
