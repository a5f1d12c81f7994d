"""Read the image and the label map of a sample."""
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..gray_levels import GrayRange, checked_range
from ..image_files import as_image, decode_bytes, encoded_bytes, orientation_of
from ..label_maps import check_sizes, read_label_map


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


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Read ``seg_map_path``, in pipelines of mmseg.

    As mmseg's ``LoadAnnotations``, and with the care of all our readers: masks of more
    than 8 bits keep their values, JPEGs and other formats that change labels are
    refused, and a map that does not fit its image is named, also if the reason is the
    EXIF orientation of the image.

    Sets ``gt_seg_map``, (H, W) uint8 or uint16, and adds it to ``seg_fields``. With
    ``reduce_zero_label`` of the dataset, 0 becomes the largest number of the type (255
    or 65535), which is not shifted, and all others 1 less.

    Raises:
        FileNotFoundError: If the label map is missing.
        UserValueError: If it is none, or has another size than its image.
    """

    #: That label maps are read, for tools that look.
    with_seg = True

    def transform(self, results: dict) -> dict:
        path, image = results['seg_map_path'], results.get('img_path')
        values = read_label_map(path).values
        if results.get('ori_shape') is not None:
            size = tuple(results['ori_shape'][1::-1])
            if size != values.shape[1::-1]:
                check_sizes(image, orientation_of(image), size, path,
                            values.shape[1::-1])
        if values.dtype not in (np.uint8, np.uint16):
            values = values.astype(np.uint16)  # OpenCV resizes no int32
        labels = values.copy()
        if results.get('reduce_zero_label'):
            top = np.iinfo(values.dtype).max
            labels[values == 0] = top
            shifted = (values > 0) & (values < top)
            labels[shifted] -= 1
        known = labels.copy()
        for former, new in (results.get('label_map') or {}).items():
            labels[known == former] = new
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results
