"""Prepare an object at all scales at once, for a search over them."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from ...errors import UserValueError
from ...registry import TRANSFORMS
from .cutouts import CutOut
from .scales import NUM_SCALES, scale_sizes
from .transforms import object_canvas, resized, resized_canvas


@TRANSFORMS.register_module()
class PrepareTopNetPairScales(BaseTransform):
    """Prepare a background and its object at S scales, for predictions of TopNetPair.

    As :class:`~.transforms.PrepareTopNetPair` once a scale, with the sizes of
    :func:`~.scales.scale_sizes`; ``object_size_wh`` is not needed. Sets ``background``
    (N, N, 3) and ``object`` (S, N, N, 4) uint8.

    Args:
        size: Side N in pixels.
        num_scales: S.
    """

    #: Whether an object is prepared for the size of one background.
    per_background = True

    def __init__(self, size: int = 256, num_scales: int = NUM_SCALES) -> None:
        if num_scales < 1:
            raise UserValueError('PrepareTopNetPairScales: num_scales must be 1 or '
                                 f'more, got {num_scales}.')
        self.size, self.num_scales = size, num_scales

    def transform(self, results: dict) -> dict:
        # The canvas of a pair file has one size; the object itself is drawn here.
        return dict(
            results, background=self.prepare_background(results['background']),
            object=self.prepare_object(results['cutout'], results['background_wh']))

    def prepare_background(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (N, N, 3)."""
        return resized(image, self.size)

    def prepare_object(self, cutout: CutOut, background_wh: Sequence[int]
                       ) -> np.ndarray:
        """(S, N, N, 4) uint8, for a background of a width and height."""
        sizes = scale_sizes(background_wh, cutout.size_wh, self.num_scales)
        return np.stack([
            resized_canvas(object_canvas(cutout, size, background_wh), self.size)
            for size in map(tuple, sizes.tolist())])

    def over_scales(self) -> 'PrepareTopNetPairScales':
        """The step that prepares an object at all sizes: this one."""
        return self
