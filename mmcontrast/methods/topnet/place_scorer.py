"""Score places of objects in backgrounds; each of both is encoded once."""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ...registry import FUNCTIONS
from ...structures.protocols import PlacesObjects, PreparesPlacements
from .cutouts import CutOut, read_cutout


@FUNCTIONS.register_module()
class PlaceScorer:
    """Scores of all places of a fixed list of objects in any number of backgrounds.

    An object is encoded when it is first needed. Where its input follows from the size
    of the background (TopNetPair), objects are kept for further backgrounds of the same
    size, those of the last one only: there may be too many for the memory.

    Args:
        model: In eval mode, on its device.
        step: Step of the test pipeline that prepares backgrounds and objects.
        objects: Cut-outs, or RGBA files.
        batch_size: Objects to encode and to score at a time.

    Attributes:
        sizes_wh: Width and height of each object that was read, by its index.
    """

    def __init__(self, model: PlacesObjects, step: PreparesPlacements,
                 objects: Sequence[CutOut | str], batch_size: int = 8) -> None:
        self.model, self.step = model, step
        self.objects, self.batch_size = objects, batch_size
        self.sizes_wh: dict[int, tuple[int, int]] = {}
        self._encoded: dict[int, Any] = {}
        self._background_wh: tuple[int, int] | None = None

    @torch.no_grad()
    def encode_backgrounds(self, images: Sequence[Tensor]) -> list:
        """Encode backgrounds in one pass.

        Args:
            images: (3, h, w) uint8, as the step prepares them, of one size.

        Returns:
            Each background as the model encodes it, with a first axis of 1.
        """
        encoded = self.model.encode_backgrounds(self._normalized('background', images))
        return [_part(encoded, slice(i, i + 1)) for i in range(len(images))]

    @torch.no_grad()
    def __call__(self, background: Any, background_wh: tuple[int, int],
                 indices: Sequence[int] | None = None) -> Iterator[Tensor]:
        """Yield the scores of objects in a background, ``batch_size`` at a time.

        Args:
            background: As :meth:`encode_backgrounds` gives it.
            background_wh: Its width and height in pixels.
            indices: Of the objects; all by default.

        Yields:
            (B, S, H, W) scores in [0, 1].
        """
        indices = range(len(self.objects)) if indices is None else indices
        if self.step.per_background:
            is_same = background_wh == self._background_wh
            self._encoded = {k: self._encoded[k] for k in indices
                             if is_same and k in self._encoded}
            self._background_wh = background_wh
        for start in range(0, len(indices), self.batch_size):
            objects = self._objects(
                indices[start:start + self.batch_size], background_wh)
            yield self.model.score_places(background, objects)

    def _objects(self, batch: Sequence[int], background_wh: tuple[int, int]) -> Any:
        """Objects as the model encodes them, with a first axis of ``len(batch)``."""
        missing = [k for k in batch if k not in self._encoded]
        if missing:
            encoded = self.model.encode_objects(self._normalized('object', [
                channels_first(self.step.prepare_object(self._read(k), background_wh))
                for k in missing]))
            self._encoded.update(
                (k, _part(encoded, i)) for i, k in enumerate(missing))
        return default_collate([self._encoded[k] for k in batch])

    def _read(self, index: int) -> CutOut:
        source = self.objects[index]
        cutout = source if isinstance(source, CutOut) else read_cutout(source)
        self.sizes_wh[index] = cutout.size_wh
        return cutout

    def _normalized(self, name: str, images: Sequence[Tensor]) -> Tensor:
        return self.model.data_preprocessor(dict(inputs={name: list(images)}))[
            'inputs'][name]


def _part(encoded: Any, index: int | slice) -> Any:
    """One image of what a model encoded: a tensor, or a list of tensors."""
    if isinstance(encoded, Tensor):
        return encoded[index]
    return [part[index] for part in encoded]


def channels_first(pixels: np.ndarray) -> Tensor:
    """(..., h, w, C) pixels -> (..., C, h, w), a copy."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))
