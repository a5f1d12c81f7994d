"""Read the image of a sample."""
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..image_files import as_image, decode_bytes, encoded_bytes


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read ``img_path`` as an upright 8-bit RGB ``PIL.Image``.

    Grayscale, palette, CMYK, alpha (dropped) and 16-bit files are converted, EXIF
    rotation is applied. A file is decoded in full or not at all.

    A sample that already holds ``img``, an (H, W, 3) uint8 RGB array or a PIL
    image, is not read from disk: the toy world draws its images. One that holds
    ``img_bytes``, the encoded file, is decoded from them; ``img_path`` is then used in
    messages only.

    Sets ``img`` (PIL.Image, RGB), ``ori_shape`` and ``img_shape`` (H, W).

    Args:
        backend_args: Options of ``mmengine.fileio.get``.

    Raises:
        BadImage: If the file is missing, empty, no image, or damaged.
        TypeError, ValueError: If ``img`` exists but is not an RGB image.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        image = results.get('img')
        if image is None:
            data = encoded_bytes(results, self.backend_args)
            image = decode_bytes(data, results.get('img_path', '?'))
        else:
            image = as_image(image, results.get('img_path', '?'))
        results['img'] = image
        results['ori_shape'] = results['img_shape'] = image.size[::-1]
        return results
