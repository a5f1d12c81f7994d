"""Scale pixel values of more than 8 bits to 8, and find images without contrast."""
import logging
import mmap
import os
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from ..errors import UserValueError

#: Environment variable with the range that becomes [0, 255], such as ``0,4095``.
RANGE_VARIABLE = 'MMCONTRAST_GRAY_RANGE'
#: An image whose levels span less than this, of 256, has no contrast.
MIN_CONTRAST = 16
# Percentiles of a file between which its range lies: single dead pixels do not count.
_TAILS = (0.1, 99.9)
# Values that determine them.
_SAMPLE = 1 << 20
_NODATA = 42113  # TIFF tag of GDAL
_MAX_NAMED = 5
# How many images without contrast were named; forked workers share it.
_named = mmap.mmap(-1, 1)

GrayRange = Sequence[float]


def to_rgb(image: Image.Image, gray_range: GrayRange | None = None) -> Image.Image:
    """Convert any image to 8-bit RGB; alpha is dropped.

    Gray of more than 8 bits is scaled, see :func:`to_8_bits`.
    """
    if image.mode == 'RGB':
        return image
    if image.mode.startswith('I') or image.mode == 'F':
        tags = getattr(image, 'tag_v2', {})
        image = Image.fromarray(
            to_8_bits(np.asarray(image), gray_range, tags.get(_NODATA)))
    elif image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    return image.convert('RGB')


def to_8_bits(values: np.ndarray, gray_range: GrayRange | None = None,
              nodata: str | float | None = None) -> np.ndarray:
    """Scale integers or floats to uint8, in 256 steps of one size.

    Args:
        values: (H, W) or (H, W, C); NaN becomes 0.
        gray_range: Lowest and highest value. None: that of ``RANGE_VARIABLE``. Without
            either, values that span half of 16 bits (of [0, 1] for floats) or more keep
            these as their range: the high byte. Others get their own range, between
            their 0.1 and 99.9 percentiles; channels of a color image share it.
        nodata: Value that marks missing pixels, which become 0.
    """
    nodata = _number(nodata)
    low, high = gray_range or _declared_range() or _range_of(values, nodata)
    if values.dtype.kind == 'u' and values.dtype.itemsize == 2:
        return _scaled(np.arange(1 << 16), low, high, nodata)[values]
    # By rows: an image as float64 is eight times as large as the result.
    return np.stack([_scaled(row, low, high, nodata) for row in values])


def checked_range(gray_range: GrayRange | None, name: str) -> GrayRange | None:
    """``gray_range`` as it is.

    Raises:
        UserValueError: If it is no range.
    """
    if gray_range is None:
        return None
    try:
        low, high = map(float, gray_range)
    except (TypeError, ValueError):
        low = high = 0
    if not low < high:
        raise UserValueError(
            f'{name} must be the lowest and the highest value, such as (0, 4095) for '
            f'12-bit data, got {gray_range!r}.')
    return low, high


def spread(pixels: np.ndarray | Image.Image) -> tuple[int, int]:
    """Lowest and highest level of the channel of an 8-bit image that varies most."""
    if isinstance(pixels, Image.Image):
        extrema = pixels.getextrema()
        pairs = extrema if isinstance(extrema[0], tuple) else [extrema]
    else:
        axes = (0, 1)
        pairs = list(zip(pixels.min(axes).tolist(), pixels.max(axes).tolist(),
                         strict=True))
    return max(pairs, key=lambda pair: pair[1] - pair[0])


def has_contrast(pixels: np.ndarray | Image.Image) -> bool:
    """Whether the levels of an (H, W, 3) image span :data:`MIN_CONTRAST` or more."""
    # A few pixels show it nearly always.
    if isinstance(pixels, Image.Image):
        few = pixels.resize((16, 16), Image.Resampling.NEAREST)
    else:
        few = pixels[::-(-pixels.shape[0] // 16), ::-(-pixels.shape[1] // 16)]
    return any(high - low >= MIN_CONTRAST for low, high in map(spread, (few, pixels)))


def warn_without_contrast(pixels: np.ndarray | Image.Image, path: str) -> None:
    """Warn about a decoded image without contrast; a run names the first of them."""
    if _named[0] > _MAX_NAMED or has_contrast(pixels):
        return
    _named[0] += 1
    if _named[0] > _MAX_NAMED:
        text = 'More images have no contrast; they are not named.'
    else:
        low, high = spread(pixels)
        text = (f'{path} has no contrast: its levels lie between {low} and {high} of '
                '255. If its values use a small part of the range of the file, scale '
                'them to the whole; for more than 8 bits see gray_range and '
                f'{RANGE_VARIABLE} in docs/data.md.')
    print_log(text, logger='current', level=logging.WARNING)


def _scaled(values: np.ndarray, low: float, high: float, nodata: float | None
            ) -> np.ndarray:
    levels = (values.astype(np.float64) - low) * (256 / (high - low))
    shown = _present(values, nodata) | (values == np.inf)
    return np.where(shown, levels.clip(0, 255), 0).astype(np.uint8)


def _present(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Which values are finite, and not the one for missing pixels."""
    present = np.isfinite(values)
    if nodata is not None:
        # Written with the digits of a float64, also for float32 pixels.
        present &= ~np.isclose(values, nodata, rtol=1e-6, atol=0)
    return present


def _range_of(values: np.ndarray, nodata: float | None) -> GrayRange:
    some = values.ravel()[::-(-values.size // _SAMPLE) or 1]
    some = some[_present(some, nodata)]
    if not some.size:
        return 0, 1
    low, high = np.percentile(some, _TAILS, method='nearest').tolist()
    if low == high:  # almost constant: what differs must be seen
        values = values[_present(values, nodata)]
        low, high = values.min().item(), values.max().item()
    full = (1 << 16) - 1 if values.dtype.kind in 'iu' else 1
    fills = 0 <= low and high <= full and high - low >= full / 2
    if low < high and not fills:
        return low, high
    return 0, max(high, full)


def _declared_range() -> GrayRange | None:
    text = os.environ.get(RANGE_VARIABLE)
    return checked_range(text.split(','), RANGE_VARIABLE) if text else None


def _number(text: str | float | None) -> float | None:
    try:
        return None if text is None else float(str(text).strip('\0 '))
    except ValueError:
        return None
