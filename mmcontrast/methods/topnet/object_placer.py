"""Rank places of many objects in many backgrounds; each of both is encoded once."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...registry import FUNCTIONS
from ...structures.protocols import PlacesObjects, PreparesPlacements
from .cutouts import CutOut, read_cutout
from .decoding import decode_batch


@FUNCTIONS.register_module()
class ObjectPlacer:
    """Places of a fixed list of objects in any number of backgrounds.

    Args:
        model: In eval mode, on its device.
        step: Step of the test pipeline that prepares backgrounds and objects.
        paths: RGBA files of the objects. They are read and encoded when first needed,
            and again for every background if ``step`` prepares them for its size.
        k, nms_iou: See :func:`~.decoding.decode_batch`.
        batch_size: Objects at a time.
    """

    def __init__(self, model: PlacesObjects, step: PreparesPlacements,
                 paths: Sequence[str], k: int = 10, nms_iou: float | None = 0.5,
                 batch_size: int = 8) -> None:
        self.model, self.step, self.paths = model, step, list(paths)
        self.k, self.nms_iou, self.batch_size = k, nms_iou, batch_size
        self._encoded: dict[int, Tensor] = {}
        self._sizes_wh: dict[int, tuple[int, int]] = {}

    @torch.no_grad()
    def __call__(self, background: np.ndarray, indices: Sequence[int]
                 ) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Ranked places of objects in a background.

        Args:
            background: (H, W, 3) uint8 RGB.
            indices: Of the objects, in ``paths``.

        Returns:
            Of every object its index, (K, 4) boxes (x, y, w, h), the best first, and
            (K,) scores; boxes lie within the background.
        """
        if not len(indices):
            return []
        size_wh = background.shape[1::-1]
        encoded = self.model.encode_backgrounds(self._normalized(
            'background', [self.step.prepare_background(background)]))
        found = []
        for start in range(0, len(indices), self.batch_size):
            batch = [int(k) for k in indices[start:start + self.batch_size]]
            heat = self.model.score_places(encoded, self._objects(batch, size_wh))
            sizes = [self._sizes_wh[k] for k in batch]
            placements = decode_batch(
                heat, self.model.grid, size_wh, sizes, self.k,
                self.model.test_cfg.get('window', 3), nms_iou=self.nms_iou)
            found += [(k, own.boxes_xywh.cpu().numpy(), own.scores.cpu().numpy())
                      for k, own in zip(batch, placements, strict=True)]
        return found

    def _objects(self, batch: Sequence[int], background_wh: tuple[int, int]) -> Any:
        """Objects as the model encodes them."""
        if self.step.per_background:
            return self._encode([self._read(k) for k in batch], background_wh)
        missing = [k for k in batch if k not in self._encoded]
        if missing:
            encoded = self._encode([self._read(k) for k in missing], background_wh)
            self._encoded.update(zip(missing, encoded, strict=True))
        return torch.stack([self._encoded[k] for k in batch])

    def _encode(self, cutouts: Sequence[CutOut], background_wh: tuple[int, int]) -> Any:
        return self.model.encode_objects(self._normalized('object', [
            self.step.prepare_object(cutout, background_wh) for cutout in cutouts]))

    def _read(self, index: int) -> CutOut:
        cutout = read_cutout(self.paths[index])
        self._sizes_wh[index] = cutout.size_wh
        return cutout

    def _normalized(self, name: str, images: Sequence[np.ndarray]) -> Tensor:
        pixels = torch.from_numpy(np.moveaxis(np.stack(images), -1, -3).copy())
        return self.model.data_preprocessor(dict(inputs={name: pixels}))['inputs'][name]
