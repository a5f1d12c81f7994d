"""Make two views of an image fast: reduced JPEG decoding, uint8 throughout."""
import random

from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS
from ...structures import View
from ..gray_levels import GrayRange, checked_range, warn_without_contrast
from ..image_files import as_image, encoded_bytes, load_upright, open_image
from .crops import RandomResizedCrops
from .decoding import best_shrink, decode_jpeg, is_jpeg, upright_size
from .resampling import DecodedImage, crop_decoded


@TRANSFORMS.register_module()
class FastTwoViews(BaseTransform):
    """Read, crop, resize and flip an image twice.

    Replaces ``LoadImage`` and the geometric part of ``TwoViews``: the same crops from
    the same random numbers, so ``views`` are equal. Photometric augmentation is left to
    the preprocessor (``TwoViewPreprocessor(photometric='BYOL')``), which runs it in
    batches on the training device.

    Of a JPEG only the header is read before the crops are drawn. Both views share one
    decode, and a large image is decoded at 1/2, 1/4 or 1/8 of its size if both crops
    then still have the pixels of a view; crop edges stay exact. Decoded in full, views
    differ from those of ``TwoViews`` by at most one gray level.

    Samples that hold ``img`` or ``img_bytes`` are read as by ``LoadImage``, and files
    that ``LoadImage`` rejects are rejected for the same reason.

    Sets ``img`` (a list of two (H, W, 3) uint8 tensors), ``views``, ``ori_shape`` and
    ``img_shape`` (H, W).

    Args:
        size, scale, ratio, flip_prob, crop_pair: See :class:`TwoViews`.
        interpolation: ``bilinear`` or ``bicubic``; views are antialiased when
            downsampled.
        reduced: Whether large JPEGs may be decoded at reduced size.
        backend_args, gray_range, max_pixels: See :class:`LoadImage`.

    Raises:
        BadImage: If the file is missing, empty, no image, damaged, or too large.
    """

    def __init__(self, size: int | tuple[int, int] = 224,
                 scale: tuple[float, float] = (0.08, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3),
                 interpolation: str = 'bilinear', flip_prob: float = 0.5,
                 crop_pair: dict | None = None, reduced: bool = True,
                 backend_args: dict | None = None,
                 gray_range: GrayRange | None = None, max_pixels: int | None = None
                 ) -> None:
        if interpolation not in ('bilinear', 'bicubic'):
            raise ValueError(
                "FastTwoViews: interpolation must be 'bilinear' or 'bicubic', got "
                f'{interpolation!r}; LoadImage and TwoViews support others.')
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.crops = RandomResizedCrops(scale, ratio)
        self.interpolation = interpolation
        self.flip_prob = flip_prob
        self.crop_pair = TRANSFORMS.build(crop_pair or dict(type='IndependentCrops'))
        self.reduced = reduced
        self.backend_args = backend_args
        self.gray_range = checked_range(gray_range, 'FastTwoViews: gray_range')
        self.max_pixels = max_pixels

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        path = results.get('img_path', '?')
        data, image = self._open(results, path)
        size = image.size if data is None else upright_size(image)
        crops = self.crop_pair(self.crops, *size, rng)
        views = [View(*crop.box, rng.random() < self.flip_prob, *size)
                 for crop in crops]
        if data is None:
            decoded = DecodedImage.of(image)
        else:
            shrink = best_shrink(size, crops, self.size) if self.reduced else 1
            decoded = decode_jpeg(data, image, path, shrink)
            warn_without_contrast(decoded.pixels, path)
        results['img'] = [
            crop_decoded(decoded, crop, view.flipped, self.size, self.interpolation)
            for crop, view in zip(crops, views, strict=True)]
        results['views'] = tuple(views)
        results['ori_shape'], results['img_shape'] = size[::-1], self.size
        return results

    def _open(self, results: dict, path: str) -> tuple[bytes | None, Image.Image]:
        """A JPEG's bytes and its header; or None and a decoded upright image."""
        if results.get('img') is not None:
            return None, as_image(results['img'], path)
        data = encoded_bytes(results, self.backend_args)
        image = open_image(data, path, self.max_pixels)
        if is_jpeg(image):
            return data, image
        image = load_upright(image, path, gray_range=self.gray_range)
        warn_without_contrast(image, path)
        return None, image
