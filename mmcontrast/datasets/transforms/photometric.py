"""Augment a view photometrically: color jitter, grayscale, blur, solarize, RandAugment.

Every step draws its parameters (``draw``) and applies them (``apply``, a pure function)
separately, so that recorded parameters give identical pixels. Names start with View:
the steps work on one RGB ``PIL.Image``, not on a result dict, and do not replace
mmpretrain's transforms of similar name.
"""
import random
from typing import Any

from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import RandAugment
from torchvision.transforms import functional as tvf

from ...registry import TRANSFORMS


class ViewStep:
    """A photometric step that is applied with probability ``prob``.

    Args:
        prob: Probability in [0, 1].
    """

    def __init__(self, prob: float = 1.0) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(
                f'{type(self).__name__}: prob must be in [0, 1], got {prob}.')
        self.prob = prob

    def __call__(self, image: Image.Image, rng: random.Random = random) -> Image.Image:
        if rng.random() >= self.prob:
            return image
        return self.apply(image, self.draw(rng))

    def draw(self, rng: random.Random) -> Any:
        """Parameters of one application; None if the step has none."""

    @staticmethod
    def apply(image: Image.Image, params: Any = None) -> Image.Image:
        """The augmented image."""
        raise NotImplementedError


@TRANSFORMS.register_module()
class ViewColorJitter(ViewStep):
    """Jitter brightness, contrast, saturation and hue, in random order.

    Args:
        brightness, contrast, saturation: The factor is uniform in
            [max(0, 1 - x), 1 + x].
        hue: The shift is uniform in [-hue, hue], in turns of the color wheel; at
            most 0.5.
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4,
                 saturation: float = 0.2, hue: float = 0.1, prob: float = 1.0) -> None:
        super().__init__(prob)
        if not 0 <= hue <= 0.5:
            raise ValueError(f'hue must be in [0, 0.5], got {hue}.')
        self.ranges = dict(hue=(-hue, hue))
        for name, strength in dict(brightness=brightness, contrast=contrast,
                                   saturation=saturation).items():
            if strength < 0:
                raise ValueError(f'{name} must be at least 0, got {strength}.')
            self.ranges[name] = (max(0, 1 - strength), 1 + strength)

    def draw(self, rng: random.Random) -> list[tuple[str, float]]:
        """(name, factor) in the order in which they apply."""
        names = rng.sample(sorted(self.ranges), len(self.ranges))
        return [(name, rng.uniform(*self.ranges[name])) for name in names]

    @staticmethod
    def apply(image: Image.Image, params: list[tuple[str, float]]) -> Image.Image:
        for name, factor in params:
            image = getattr(tvf, f'adjust_{name}')(image, factor)
        return image


@TRANSFORMS.register_module()
class ViewGrayscale(ViewStep):
    """Convert to grayscale with three channels."""

    @staticmethod
    def apply(image: Image.Image, params: None = None) -> Image.Image:
        return tvf.rgb_to_grayscale(image, num_output_channels=3)


@TRANSFORMS.register_module()
class ViewGaussianBlur(ViewStep):
    """Gaussian blur; sigma, in pixels of the view, is Pillow's radius.

    Args:
        sigma: Range of the uniform draw.
    """

    def __init__(self, sigma: tuple[float, float] = (0.1, 2.0),
                 prob: float = 1.0) -> None:
        super().__init__(prob)
        self.sigma = tuple(sigma)

    def draw(self, rng: random.Random) -> float:
        return rng.uniform(*self.sigma)

    @staticmethod
    def apply(image: Image.Image, params: float) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=params))


@TRANSFORMS.register_module()
class ViewSolarize(ViewStep):
    """Invert all levels from the threshold on.

    Args:
        threshold: Gray level, 0 to 256.
    """

    def __init__(self, threshold: int = 128, prob: float = 1.0) -> None:
        super().__init__(prob)
        self.threshold = threshold

    def draw(self, rng: random.Random) -> int:
        return self.threshold

    @staticmethod
    def apply(image: Image.Image, params: int) -> Image.Image:
        return ImageOps.solarize(image, threshold=params)


@TRANSFORMS.register_module()
class ViewRandAugment(ViewStep):
    """torchvision's RandAugment, which draws from torch's generator.

    Some of its operations shear, shift or rotate the view by a few pixels; ``View``
    does not record that, so pixel pairs are off by as much.

    Args:
        num_ops: Operations per view.
        magnitude: Strength, 0 to 30.
    """

    def __init__(self, num_ops: int = 2, magnitude: int = 10,
                 prob: float = 1.0) -> None:
        super().__init__(prob)
        self.augment = RandAugment(num_ops, magnitude)

    def draw(self, rng: random.Random) -> RandAugment:
        return self.augment

    @staticmethod
    def apply(image: Image.Image, params: RandAugment) -> Image.Image:
        return params(image)
