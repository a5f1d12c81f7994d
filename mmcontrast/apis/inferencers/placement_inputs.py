"""Prepare and encode backgrounds and objects apart, each as often as needed."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import UserValueError
from ...structures.protocols import (
    PlacesObjects,
    PreparesPlacements,
    SearchesPlacements,
)
from ..loading import LoadedModel
from .images import input_pipeline


class BackgroundPipeline:
    """Prepare an image as a background; takes and gives what a test pipeline does."""

    def __init__(self, step: PreparesPlacements) -> None:
        self.step = step

    def __call__(self, results: dict) -> dict:
        image = self.step.prepare_background(results['img'])
        return dict(inputs=_channels_first(image), data_samples=None)


class ObjectEncoder:
    """Encode all objects once, or once for each size of background.

    Args:
        cutouts: The objects.
        batch_size: Objects to pass at a time.
    """

    def __init__(self, model: PlacesObjects, step: PreparesPlacements,
                 cutouts: Sequence[Any], batch_size: int) -> None:
        self.model, self.step = model, step
        self.parts = [cutouts[i:i + batch_size]
                      for i in range(0, len(cutouts), batch_size)]
        self._key, self._kept = None, []

    @torch.no_grad()
    def __call__(self, background_wh: tuple[int, int]) -> list:
        """Encoded objects, ``batch_size`` of them together."""
        key = background_wh if self.step.per_background else ()
        # Backgrounds of one size often follow each other; more would fill the memory.
        if key != self._key:
            self._kept = [self._encode(part, background_wh) for part in self.parts]
            self._key = key
        return self._kept

    def _encode(self, cutouts: Sequence[Any], background_wh: tuple[int, int]) -> Any:
        prepared = [_channels_first(self.step.prepare_object(cutout, background_wh))
                    for cutout in cutouts]
        return self.model.encode_objects(normalized(self.model, object=prepared))


def normalized(model: PlacesObjects, **images: Sequence[Tensor]) -> Tensor:
    """Backgrounds or objects, stacked and normalized on the device of a model."""
    (name, given), = images.items()
    return model.data_preprocessor(
        dict(inputs={name: list(given)}), False)['inputs'][name]


def preparing_step(loaded: LoadedModel) -> PreparesPlacements:
    """The step of a test pipeline that prepares backgrounds, and objects at all sizes.

    Raises:
        ValueError: If there is none.
    """
    for step in input_pipeline(loaded.config).transforms:
        if isinstance(step, SearchesPlacements):
            return step.over_scales()
    raise UserValueError(
        f'{loaded.config.filename}: the test pipeline has no step that prepares '
        'backgrounds and objects, such as PrepareTopNet.')


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))
