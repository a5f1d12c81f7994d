"""The changes of one image on a CPU without numba: by Pillow, as in the loader."""
import numpy as np
from PIL import Image

from ...datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
)
from .params import Op


def augment(planes: np.ndarray, ops: list[int], values: list[float]) -> None:
    """Change a (3, H, W) uint8 image in place.

    Args:
        ops, values: A row of :class:`AugmentParams`.
    """
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
    for op, value in zip(ops, values, strict=True):
        if op == Op.GRAYSCALE:
            image = ViewGrayscale.apply(image)
        elif op == Op.BLUR:
            image = ViewGaussianBlur.apply(image, value)
        elif op == Op.SOLARIZE:
            image = ViewSolarize.apply(image, int(value))
        elif op != Op.SKIP:
            image = ViewColorJitter.apply(image, [(Op(op).name.lower(), value)])
    planes[...] = np.asarray(image).transpose(2, 0, 1)
