"""Augment the image of an image-text pair without making its text false."""
import random

from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS
from ..image_files import as_image
from .crops import Crop, RandomResizedCrops
from .recipes import look_up
from .texts import names_a_side, swap_sides
from .two_views import INTERPOLATIONS, crop_and_resize

SIDES = ('skip', 'swap', 'ignore')


@TRANSFORMS.register_module()
class CropImage(BaseTransform):
    """Crop a random part of ``img`` and resize it.

    Source: the training transform of open_clip: crops of 90 % of the image or more, so
    that the caption stays true; of an image whose sides differ more than ``ratio``
    allows, the largest centered part that fits it. ``img``, a PIL.Image or an
    (H, W, 3) uint8 RGB array, becomes a PIL.Image.

    Args:
        size: Side of the result in pixels, or (height, width).
        scale, ratio: Area share and aspect ratio of the crop, see
            :class:`~mmcontrast.datasets.transforms.RandomResizedCrops`.
        interpolation: Pillow filter, ``bicubic`` as in open_clip; with antialiasing.
    """

    def __init__(self, size: int | tuple[int, int] = 224,
                 scale: tuple[float, float] = (0.9, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3),
                 interpolation: str = 'bicubic') -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.crops = RandomResizedCrops(scale, ratio)
        self.resample = look_up(interpolation, INTERPOLATIONS, 'interpolation')

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        image = as_image(results['img'], results.get('img_path', '?'))
        crop = self.crop(*image.size, rng)
        results['img'] = crop_and_resize(image, crop, False, self.size, self.resample)
        results['img_shape'] = self.size
        return results

    def crop(self, width: int, height: int, rng: random.Random) -> Crop:
        """The crop of a ``width`` x ``height`` image."""
        return self.crops(width, height, rng)


@TRANSFORMS.register_module()
class CropImageCenter(CropImage):
    """Crop the largest centered part of ``img`` that has the shape of ``size``.

    The evaluation transform of CLIP, for any size. Arguments as for
    :class:`CropImage`.
    """

    def __init__(self, size: int | tuple[int, int] = 224,
                 interpolation: str = 'bicubic') -> None:
        super().__init__(size, interpolation=interpolation)

    def crop(self, width: int, height: int, rng: random.Random) -> Crop:
        share = min(width / self.size[1], height / self.size[0])
        crop_w, crop_h = (max(round(share * side), 1) for side in self.size[::-1])
        return Crop((width - crop_w) // 2, (height - crop_h) // 2, crop_w, crop_h)


@TRANSFORMS.register_module()
class FlipImageText(BaseTransform):
    """Flip ``img`` horizontally, with respect to 'left' and 'right' in its text.

    Put it behind ``ChooseText``: of several ``texts``, one with a side counts for all.

    Args:
        prob: Probability of a flip.
        sides: What happens if a text names a side: 'skip' never flips such a pair,
            'swap' flips and exchanges the two words (also where "right" means correct),
            'ignore' flips and leaves the text.
    """

    def __init__(self, prob: float = 0.5, sides: str = 'skip') -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}.')
        if sides not in SIDES:
            raise ValueError(f'sides must be one of {list(SIDES)}, got {sides!r}.')
        self.prob, self.sides = prob, sides

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        flip = rng.random() < self.prob  # drawn in any case: the order stays the same
        texts = ([results['text']] if 'text' in results else
                 list(results.get('texts', ())))
        named = self.sides != 'ignore' and any(map(names_a_side, texts))
        if not flip or (named and self.sides == 'skip'):
            return results
        image = as_image(results['img'], results.get('img_path', '?'))
        results['img'] = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if named:
            swapped = tuple(map(swap_sides, texts))
            results.update({'text': swapped[0]} if 'text' in results else
                           {'texts': swapped})
        return results
