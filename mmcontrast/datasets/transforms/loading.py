"""Read the image of a sample."""
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..gray_levels import GrayRange, checked_range
from ..image_files import as_image, decode_bytes, encoded_bytes


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read ``img_path`` as an upright 8-bit RGB ``PIL.Image``.

    Grayscale, palette, CMYK, alpha (dropped) and 16-bit files are converted, EXIF
    rotation is applied. A file is decoded in full or not at all. An image whose levels
    are nearly all alike is warned about.

    A sample that already holds ``img``, an (H, W, 3) uint8 RGB array or a PIL
    image, is not read from disk: the toy world draws its images. One that holds
    ``img_bytes``, the encoded file, is decoded from them; ``img_path`` is then used in
    messages only.

    Sets ``img`` (PIL.Image, RGB), ``ori_shape`` and ``img_shape`` (H, W).

    Args:
        backend_args: Options of ``mmengine.fileio.get``.
        gray_range: Lowest and highest value of files of more than 8 bits, such as
            ``(0, 4095)``, which become 0 and 255; None: the range of each file. See
            :func:`~mmcontrast.datasets.gray_levels.to_8_bits`.
        max_pixels: Most pixels of an image; None: the limit for all readers, see
            :func:`~mmcontrast.datasets.image_files.open_image`.

    Raises:
        BadImage: If the file is missing, empty, no image, damaged, or too large.
        TypeError, ValueError: If ``img`` exists but is not an RGB image.
    """

    def __init__(self, backend_args: dict | None = None,
                 gray_range: GrayRange | None = None, max_pixels: int | None = None
                 ) -> None:
        self.backend_args = backend_args
        self.gray_range = checked_range(gray_range, 'LoadImage: gray_range')
        self.max_pixels = max_pixels

    def transform(self, results: dict) -> dict:
        image = results.get('img')
        if image is None:
            data = encoded_bytes(results, self.backend_args)
            image = decode_bytes(data, results.get('img_path', '?'), self.gray_range,
                                 self.max_pixels)
        else:
            image = as_image(image, results.get('img_path', '?'))
        results['img'] = image
        results['ori_shape'] = results['img_shape'] = image.size[::-1]
        return results
