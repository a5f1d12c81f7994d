"""Make two augmented views of an image and record where each lies."""
import random
from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS
from ...structures import View
from .crops import Crop, RandomResizedCrops
from .recipes import look_up, view_steps

INTERPOLATIONS = dict(
    nearest=Image.Resampling.NEAREST, bilinear=Image.Resampling.BILINEAR,
    bicubic=Image.Resampling.BICUBIC, lanczos=Image.Resampling.LANCZOS)


@TRANSFORMS.register_module()
class TwoViews(BaseTransform):
    """Crop, resize, flip and photometrically augment an image twice.

    Source: PixPro (CVPR 2021), released code: crop and resize, flip, then the
    photometric steps. Geometry comes first, so that ``View`` gives the source of
    every pixel.

    ``img`` (a PIL.Image) becomes a list of two, ``views`` the two
    :class:`~mmcontrast.structures.View`, ``photometric_done`` whether it applied
    photometric steps: the preprocessor does not augment such views again.

    Args:
        size: Side of the views in pixels, or (height, width).
        scale, ratio: Area share and aspect ratio of the crops, see
            :class:`RandomResizedCrops`.
        interpolation: Pillow filter of the resize: ``bilinear`` (PixPro) or
            ``bicubic`` (SlotCon), also ``nearest`` and ``lanczos``. Views are
            antialiased when downsampled.
        flip_prob: Probability of a horizontal flip, for each view.
        views: A name in ``recipes.RECIPES``, or the steps of view 1 and of view 2.
        crop_pair: Sampler of the two crops, see ``crops``.
    """

    def __init__(self, size: int | tuple[int, int] = 224,
                 scale: tuple[float, float] = (0.08, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3),
                 interpolation: str = 'bilinear', flip_prob: float = 0.5,
                 views: str | Sequence[Sequence[dict]] = 'BYOL',
                 crop_pair: dict | None = None) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.crops = RandomResizedCrops(scale, ratio)
        self.resample = look_up(interpolation, INTERPOLATIONS, 'interpolation')
        self.flip_prob = flip_prob
        self.steps = view_steps(views)
        self.crop_pair = TRANSFORMS.build(crop_pair or dict(type='IndependentCrops'))

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        image = results['img']
        crops = self.crop_pair(self.crops, *image.size, rng)
        views = [View(*crop.box, rng.random() < self.flip_prob, *image.size)
                 for crop in crops]
        images = [crop_and_resize(image, crop, view.flipped, self.size, self.resample)
                  for crop, view in zip(crops, views, strict=True)]
        for k, steps in enumerate(self.steps):
            for step in steps:
                images[k] = step(images[k], rng)
        results['img'], results['views'] = images, tuple(views)
        results['img_shape'] = self.size
        results['photometric_done'] = any(self.steps)
        return results


def crop_and_resize(
    image: Image.Image,
    crop: Crop,
    flipped: bool,
    size: tuple[int, int],
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """The part of an image that a view shows, before photometric steps.

    Args:
        size: (height, width) of the result.
    """
    # Crop, then resize: with resize(box=...) pixels outside of the crop leak in.
    view = image.crop(crop.box).resize(size[::-1], resample)
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else view
