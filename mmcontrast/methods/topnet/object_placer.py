"""Rank places of many objects in many backgrounds, to keep the best of each."""
from collections.abc import Sequence

import numpy as np

from ...registry import FUNCTIONS
from ...structures.protocols import PlacesObjects, PreparesPlacements
from .constraints import Constraints
from .decoding import decode_batch
from .place_scorer import PlaceScorer, channels_first


@FUNCTIONS.register_module()
class ObjectPlacer:
    """Places of a fixed list of objects in any number of backgrounds.

    Every object is ranked as if it were alone; boxes that leave the background are
    ruled out first, so that it has a box wherever one fits.

    Args:
        model, step, batch_size: See :class:`~.place_scorer.PlaceScorer`.
        paths: RGBA files of the objects.
        k, nms_iou: See :func:`~.decoding.decode_batch`.
    """

    def __init__(self, model: PlacesObjects, step: PreparesPlacements,
                 paths: Sequence[str], k: int = 10, nms_iou: float | None = 0.5,
                 batch_size: int = 8) -> None:
        self.model, self.step = model, step
        self.k, self.nms_iou = k, nms_iou
        self.scorer = PlaceScorer(model, step, list(paths), batch_size)

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
        indices = [int(k) for k in indices]
        if not indices:
            return []
        size_wh = background.shape[1::-1]
        encoded, = self.scorer.encode_backgrounds([
            channels_first(self.step.prepare_background(background))])
        placements = []
        for heat in self.scorer(encoded, size_wh, indices):
            batch = indices[len(placements):len(placements) + len(heat)]
            placements += decode_batch(
                heat, self.model.grid.with_scales(heat.shape[1]), size_wh,
                [self.scorer.sizes_wh[k] for k in batch], self.k,
                self.model.test_cfg.get('window', 3), nms_iou=self.nms_iou,
                constraints=Constraints(inside=True))
        return [(k, found.boxes_xywh.cpu().numpy(), found.scores.cpu().numpy())
                for k, found in zip(indices, placements, strict=True)]
